"""Mappings that cannot start: each with the check that refuses it, and parts of its message."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Constant,
    Derived,
    Lookup,
    Query,
    Schedule,
    SetColumns,
    newest_wins,
)

KEYED = "CREATE TABLE {s}.t (id int PRIMARY KEY, v text)"
PARTS = (
    "CREATE TABLE {s}.t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
    "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (100);"
    "CREATE TABLE {s}.high PARTITION OF {s}.t FOR VALUES FROM (100) TO (200);"
)
VIA_ROOT = "ALTER PUBLICATION sink_publication SET (publish_via_partition_root = true);"
ALL_OPERATIONS = "ALTER PUBLICATION sink_publication SET (publish = 'insert, update, delete')"


@dataclass(frozen=True)
class Case:
    """DDL of both sides and a mapping; the check that refuses it, and parts of its message."""

    check: str
    message: tuple[str, ...]
    source: str = ""
    target: str = ""
    mapping: dict[str, Any] = field(default_factory=dict)
    after_publish: str = ""
    """DDL of the source after the table is published."""
    undo: str = ""
    after_grants: str = ""
    """DDL of the target after the grants."""
    target_undo: str = ""
    publish: bool = True


MOVED_KEY = {
    "key": ("v",),
    "columns": (Column("id"), Column("v"), Column("at")),
    "conflict": newest_wins("at"),
    "conflict_detection": ConflictDetection(),
    "needs_before_image": True,
}
MOVED_KEY_TABLES = {
    "source": "CREATE TABLE {s}.t (id int PRIMARY KEY, v text UNIQUE, at timestamp);"
    "ALTER TABLE {s}.t REPLICA IDENTITY FULL",
    "target": "CREATE TABLE {s}.t (id int, v text PRIMARY KEY, at timestamp)",
}
INVALID = {
    "one-topic-for-two-tables": Case(
        "topic",
        ("one topic, north.{s}.a_b", "rename one of the tables"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v text);"
        'CREATE TABLE {s}."a b" (id int PRIMARY KEY, v text);'
        "CREATE TABLE {s}.a_b (id int PRIMARY KEY, v text)",
        after_publish='ALTER PUBLICATION sink_publication ADD TABLE {s}."a b", {s}.a_b',
        mapping={"source": "north.{s}.a b"},
    ),
    "array-into-a-scalar": Case(
        "types",
        ("column v of south.{s}.t is integer", "v of north.{s}.t is integer[]", "an array"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v int[])",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
    ),
    "timestamp-into-a-time": Case(
        "types",
        ("column v of south.{s}.t is time", "a date would be lost", "convert="),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v timestamp)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v time)",
    ),
    "bits-into-a-number": Case(
        "types",
        ("bit(3)", "decimal number"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v bit(3))",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
    ),
    "type-without-input": Case(
        "types",
        ("PostgreSQL accepts no input for type pg_node_tree",),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v pg_node_tree)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v pg_node_tree)",
    ),
    "no-source": Case(
        "tables", ("north.{s}.gone does not exist",), mapping={"source": "north.{s}.gone"}
    ),
    "no-target": Case(
        "tables", ("south.{s}.gone does not exist",), mapping={"target": "south.{s}.gone"}
    ),
    "identity-of-an-index": Case(
        "replica_identity",
        ("the columns of an index", "of a delete lacks id", "REPLICA IDENTITY DEFAULT"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v text NOT NULL CONSTRAINT vs UNIQUE);"
        "ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX vs",
    ),
    "identity-nothing": Case(
        "replica_identity",
        ("is nothing", "of a delete lacks id", "REPLICA IDENTITY DEFAULT"),
        source=KEYED + "; ALTER TABLE {s}.t REPLICA IDENTITY NOTHING",
    ),
    "identity-of-a-deferrable-key": Case(
        "replica_identity",
        ("of a delete lacks id",),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY DEFERRABLE, v text)",
    ),
    "deferrable-key-of-the-source": Case(
        "replica_identity",
        ("exchange their keys", 'DROP CONSTRAINT "t_pkey", ADD PRIMARY KEY ("id")'),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY DEFERRABLE, v text);"
        "ALTER TABLE {s}.t REPLICA IDENTITY FULL",
    ),
    "identity-of-no-key": Case(
        "replica_identity",
        ("of a delete lacks id", "REPLICA IDENTITY FULL"),
        source="CREATE TABLE {s}.t (id int, v text)",
    ),
    "identity-of-one-partition": Case(
        "replica_identity",
        ('{s}"."high" is nothing', "of a delete lacks id"),
        source=PARTS + "ALTER TABLE {s}.high REPLICA IDENTITY NOTHING;" + VIA_ROOT,
        undo=VIA_ROOT.replace("true", "false"),
    ),
    "before-image-without-full-identity": Case(
        "replica_identity",
        ("needs the whole row", 'ALTER TABLE "{s}"."t" REPLICA IDENTITY FULL'),
        mapping={"needs_before_image": True},
    ),
    "key-of-another-column": Case(
        "replica_identity",
        ("of a delete lacks v", "REPLICA IDENTITY FULL"),
        target="CREATE TABLE {s}.t (id int, v text PRIMARY KEY)",
        mapping={"key": ("v",)},
    ),
    "key-that-moves": Case(
        "replica_identity",
        ("needs_before_image=True",),
        source=KEYED + "; ALTER TABLE {s}.t REPLICA IDENTITY FULL",
        target="CREATE TABLE {s}.t (id int, v text PRIMARY KEY)",
        mapping={"key": ("v",)},
    ),
    "columns-alike": Case(
        "source_columns",
        ("columns v and V of north.{s}.t", "the whole database", 'RENAME COLUMN "V" TO'),
        source='CREATE TABLE {s}.t (id int PRIMARY KEY, v text, "V" text)',
    ),
    "not-published": Case(
        "publication",
        ("never captured", 'ALTER PUBLICATION "sink_publication" ADD TABLE "{s}"."t"'),
        publish=False,
    ),
    "partitioned": Case(
        "publication",
        ("is partitioned", "SET (publish_via_partition_root = true)"),
        source=PARTS,
    ),
    "partition": Case(
        "publication",
        ("is a partition", "of {s}.t"),
        source=PARTS + VIA_ROOT,
        mapping={"source": "north.{s}.low"},
        undo=VIA_ROOT.replace("true", "false"),
    ),
    "publishes-inserts": Case(
        "publication",
        ("does not publish delete, update", "SET (publish = "),
        after_publish="ALTER PUBLICATION sink_publication SET (publish = 'insert')",
        undo=ALL_OPERATIONS,
    ),
    "column-list": Case(
        "publication",
        ("leaves out v", "DROP TABLE"),
        after_publish="ALTER PUBLICATION sink_publication DROP TABLE {s}.t;"
        "ALTER PUBLICATION sink_publication ADD TABLE {s}.t (id)",
    ),
    "row-filter": Case(
        "publication",
        ("has a row filter",),
        after_publish="ALTER PUBLICATION sink_publication DROP TABLE {s}.t;"
        "ALTER PUBLICATION sink_publication ADD TABLE {s}.t WHERE (id > 5)",
    ),
    "source-view": Case(
        "source_kind",
        ("is a view",),
        source="CREATE TABLE {s}.b (id int PRIMARY KEY, v text);"
        "CREATE VIEW {s}.t AS SELECT * FROM {s}.b",
        publish=False,
    ),
    "source-materialized-view": Case(
        "source_kind",
        ("is a materialized view",),
        source="CREATE MATERIALIZED VIEW {s}.t AS SELECT 1 AS id, 'a'::text AS v",
        publish=False,
    ),
    "source-foreign": Case(
        "source_kind",
        ("is a foreign table",),
        source="CREATE EXTENSION IF NOT EXISTS postgres_fdw;"
        "CREATE SERVER IF NOT EXISTS far FOREIGN DATA WRAPPER postgres_fdw;"
        "CREATE FOREIGN TABLE {s}.t (id int, v text) SERVER far",
        publish=False,
    ),
    "source-unlogged": Case(
        "source_kind",
        ("unlogged", "SET LOGGED"),
        source="CREATE UNLOGGED TABLE {s}.t (id int PRIMARY KEY, v text)",
        publish=False,
    ),
    "source-inherited": Case(
        "source_kind",
        ("child tables",),
        source=KEYED + "; CREATE TABLE {s}.child () INHERITS ({s}.t)",
    ),
    "source-column": Case(
        "source_columns",
        ("has no column w",),
        mapping={"columns": (Column("id"), Column("v", "w"))},
    ),
    "source-generated": Case(
        "source_columns",
        ("column v", "is generated"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, w text, "
        "v text GENERATED ALWAYS AS (upper(w)) STORED)",
    ),
    "target-view": Case(
        "target_kind",
        ("is a view",),
        target="CREATE TABLE {s}.b (id int PRIMARY KEY, v text);"
        "CREATE VIEW {s}.t AS SELECT * FROM {s}.b",
    ),
    "target-unlogged": Case(
        "target_kind",
        ("unlogged", "SET LOGGED"),
        target="CREATE UNLOGGED TABLE {s}.t (id int PRIMARY KEY, v text)",
    ),
    "target-rule": Case(
        "target_kind",
        ("rewrite rule nothing", "without an error", 'DROP RULE "nothing" ON "{s}"."t"'),
        after_grants="CREATE RULE nothing AS ON INSERT TO {s}.t DO INSTEAD NOTHING",
    ),
    "target-column-of-staging-table": Case(
        "target_columns",
        ("column _keep of south.{s}.t", "staging table", 'RENAME COLUMN "_keep" TO'),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, _keep text)",
        mapping={"columns": (Column("id"), Column("_keep", "v"))},
    ),
    "target-column": Case(
        "target_columns",
        ("has no column w",),
        mapping={"columns": (Column("id"), Column("w", "v"))},
    ),
    "target-marked-column": Case(
        "target_columns", ("has no column gone",), mapping={"on_delete": SetColumns({"gone": True})}
    ),
    "target-generated": Case(
        "target_columns",
        ("column v", "is generated"),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, "
        "v text GENERATED ALWAYS AS ('a'::text) STORED)",
    ),
    "target-identity-updated": Case(
        "target_columns",
        ("column v", "SET GENERATED BY DEFAULT"),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS IDENTITY)",
    ),
    "target-unfilled": Case(
        "target_columns",
        ("column w", "NOT NULL without a default", "DROP NOT NULL"),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v text, w int NOT NULL)",
    ),
    "target-no-key": Case(
        "target_key",
        ("no unique constraint on (id)", 'ADD UNIQUE ("id")'),
        target="CREATE TABLE {s}.t (id int, v text)",
    ),
    "target-wider-key": Case(
        "target_key",
        ("no unique constraint on (id)",),
        target="CREATE TABLE {s}.t (id int, v text, PRIMARY KEY (id, v))",
    ),
    "target-included-key": Case(
        "target_key",
        ("no unique constraint on (id, v)",),
        target="CREATE TABLE {s}.t (id int, v text, PRIMARY KEY (id) INCLUDE (v))",
        source=KEYED + "; ALTER TABLE {s}.t REPLICA IDENTITY FULL",
        mapping={"key": ("id", "v"), "needs_before_image": True},
    ),
    "target-deferrable-key": Case(
        "target_key",
        ("is deferrable",),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE, v text)",
    ),
    "target-partial-key": Case(
        "target_key",
        ("is partial",),
        target="CREATE TABLE {s}.t (id int, v text);"
        "CREATE UNIQUE INDEX part ON {s}.t (id) WHERE id > 5",
    ),
    "target-invalid-key": Case(
        "target_key",
        ("is not valid", "REINDEX"),
        target="CREATE TABLE {s}.t (id int, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (100);"
        "CREATE UNIQUE INDEX whole ON ONLY {s}.t (id)",
    ),
    "version-of-text": Case(
        "version",
        ("column 'v'", "not the order of time"),
        mapping={"conflict": newest_wins("v")},
    ),
    "no-usage-of-the-source": Case(
        "tables",
        ("role sink_reader may not use schema {s}", 'GRANT USAGE ON SCHEMA "{s}" TO "sink_reader"'),
        after_publish="REVOKE USAGE ON SCHEMA {s} FROM sink_reader",
    ),
    "target-row-security-admits-nothing": Case(
        "target_row_security",
        ("admits no row", "CREATE POLICY"),
        target=KEYED + "; ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY",
    ),
    "source-row-security": Case(
        "source_row_security",
        ("hides rows from role sink_reader", "USING (true)"),
        source=KEYED + "; ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY few ON {s}.t USING (id < 5)",
        mapping={"schedules": (Schedule("0 0 * * *"),)},
    ),
}


def with_lookup(query: str) -> dict[str, Any]:
    return {"columns": (Column("id"), Column("v", lookup=Lookup(query, "north")))}


def with_query(query: str) -> dict[str, Any]:
    nightly = (Schedule("0 0 * * *"),)
    return {"query": Query(select=query), "streaming": False, "schedules": nightly}


def with_derivation(select: str) -> dict[str, Any]:
    typed = (Column("id", type="int"), Column("v", type="text"))
    candidates = Derived(key=("id",), group=("id",), select=select)
    return {"columns": typed, "derived": candidates}


NIGHTLY = {"schedules": (Schedule("0 0 * * *"),)}
ORIGIN = "EXECUTE ON FUNCTION pg_replication_origin_create(text)"
INVALID |= {
    "writer-insert": Case(
        "writer_privileges",
        ("lacks INSERT on v", 'GRANT INSERT ("v") ON "{s}"."t" TO "sink_writer"'),
        after_grants="REVOKE INSERT ON {s}.t FROM sink_writer;"
        "GRANT INSERT (id) ON {s}.t TO sink_writer",
    ),
    "writer-update": Case(
        "writer_privileges",
        ('GRANT UPDATE ("v") ON "{s}"."t" TO "sink_writer"',),
        after_grants="REVOKE UPDATE ON {s}.t FROM sink_writer",
    ),
    "writer-select": Case(
        "writer_privileges",
        ('GRANT SELECT ("id", "v") ON "{s}"."t" TO "sink_writer"',),
        after_grants="REVOKE SELECT ON {s}.t FROM sink_writer",
    ),
    "writer-delete": Case(
        "writer_privileges",
        ('GRANT DELETE ON "{s}"."t" TO "sink_writer"',),
        after_grants="REVOKE DELETE ON {s}.t FROM sink_writer",
    ),
    "writer-mark": Case(
        "writer_privileges",
        ('GRANT UPDATE ("w") ON "{s}"."t" TO "sink_writer"',),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v text, w bool)",
        after_grants="REVOKE UPDATE ON {s}.t FROM sink_writer;"
        "GRANT UPDATE (v) ON {s}.t TO sink_writer",
        mapping={"on_delete": SetColumns({"w": True})},
    ),
    "writer-origin": Case(
        "control",
        ("replication origin", "GRANT " + ORIGIN),
        after_grants=f"REVOKE {ORIGIN} FROM sink_writer",
        target_undo=f"GRANT {ORIGIN} TO sink_writer",
    ),
    "reader-of-a-batch": Case(
        "reader_privileges",
        ('GRANT SELECT ("v", "xmin") ON "{s}"."t" TO "sink_reader"',),
        after_publish="REVOKE SELECT ON {s}.t FROM sink_reader;"
        "GRANT SELECT (id) ON {s}.t TO sink_reader",
        mapping=NIGHTLY,
    ),
    "cast-of-a-date": Case(
        "casts",
        ("column v (date)", "into v (integer)", "convert="),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v date)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
    ),
    "cast-of-a-domain": Case(
        "casts",
        ("accepts none of its values",),
        source="CREATE DOMAIN {s}.day AS date; CREATE DOMAIN {s}.when AS {s}.day;"
        "CREATE TABLE {s}.t (id int PRIMARY KEY, v {s}.when)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v uuid)",
    ),
    "contested-key-that-moves-to-another-row": Case(
        "contested",
        ("deleted by (v)", "another row of north.{s}.t", "declare SetColumns(...)"),
        mapping=MOVED_KEY,
        **MOVED_KEY_TABLES,
    ),
    "constant-of-another-type": Case(
        "constants",
        ("the constant of column v", "expected a whole number"),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
        mapping={"columns": (Column("id"), Column("v", Constant("x")))},
    ),
    "constant-that-would-be-rounded": Case(
        "constants",
        ("the constant of column v", "more digits than numeric(6,2) keeps"),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v numeric(6,2))",
        mapping={"columns": (Column("id"), Column("v", Constant(Decimal("1.005"))))},
    ),
    "default-outside-the-enum": Case(
        "constants",
        ("the default of column v", "PostgreSQL does not parse it"),
        target="CREATE TYPE {s}.mood AS ENUM ('sad');"
        "CREATE TABLE {s}.t (id int PRIMARY KEY, v {s}.mood)",
        mapping={"columns": (Column("id"), Column("v", default="glad"))},
    ),
    "lookup-of-no-table": Case(
        "lookups",
        ("lookup of column v in database north", 'relation "public.nowhere" does not exist'),
        mapping=with_lookup("SELECT k, x FROM public.nowhere WHERE k = ANY (%s)"),
    ),
    "lookup-without-a-grant": Case(
        "lookups",
        ('GRANT SELECT ON pg_catalog.pg_authid TO "sink_reader"',),
        mapping=with_lookup(
            "SELECT rolname::text, 1 FROM pg_catalog.pg_authid WHERE rolname = ANY (%s)"
        ),
    ),
    "lookup-by-a-number": Case(
        "lookups",
        ("returns oid as oid", "oid::text"),
        mapping=with_lookup("SELECT oid, relname FROM pg_class WHERE oid = ANY (%s::oid[])"),
    ),
    "lookup-of-one-column": Case(
        "lookups", ("returns 1 columns",), mapping=with_lookup("SELECT 'a' WHERE 'a' = ANY (%s)")
    ),
    "query-that-fails": Case(
        "query", ('relation "nowhere" does not exist',), mapping=with_query("SELECT * FROM nowhere")
    ),
    "query-without-a-column": Case(
        "query", ("does not return v",), mapping=with_query("SELECT 1 AS id")
    ),
    "derivation-that-fails": Case(
        "derivation",
        ('column "w" does not exist',),
        mapping=with_derivation("SELECT id, w FROM {candidates} c"),
    ),
    "derivation-of-another-column": Case(
        "derivation",
        ("unknown to the target, w",),
        mapping=with_derivation("SELECT id, v AS w FROM {candidates} c"),
    ),
}


def set_up(tables: Any, case: Case) -> None:
    """Set up both databases and the mapping of the case."""
    tables.create(case.source, case.target, publish=case.publish)
    tables.run(tables.source, case.after_publish)
    tables.run(tables.target, case.after_grants)
    declared = {
        name: value.replace("{s}", tables.schema) if isinstance(value, str) else value
        for name, value in case.mapping.items()
    }
    tables.mapping = replace(tables.mapping, **declared)
