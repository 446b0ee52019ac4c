"""Misconfigurations of a mapping and its tables: what has to be found, and what to paste."""

import base64
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sink_runner.config import Capture, DeadLetters, Policies
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect

from ...unit.schema_check.tables import envelope
from ..preflight.conftest import POLICIES
from ..preflight.invalid_mappings import INVALID, KEYED, Case, with_lookup
from .conftest import Site

SOUND = Case("", ())
PROPERTIES = """
debezium.source.topic.prefix=north
debezium.source.slot.name=sink_doctor
debezium.source.publication.name=sink_publication
debezium.source.database.user=sink_capture
debezium.source.table.include.list={included}
"""
DEAD_LETTER = """
INSERT INTO sink.dead_letter (flow, topic, partition, "offset", event_key_hash, error_class,
  error_message, stack_trace, source_data, key_id, plugin_version)
VALUES ('bench', 't', 0, 1, 'a', 'WriteError', '', '', 'a', 'another', '1')
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How to break a sound deployment, what has to be found, and its remedy."""

    check: str
    """The kind of its group and its name."""
    problem: str
    remedy: str
    case: Case = SOUND
    breaks: Callable[[Site], Any] = lambda _site: None
    paste: str = ""
    """The side in whose database the remedy's SQL is to be pasted; "" if it has none."""


def row(name: str, problem: str, remedy: str, *, paste: str = "") -> Row:
    """Return the row of a mapping that the tests of `preflight` have as well."""
    case = INVALID[name]
    return Row(
        check=f"mapping/{case.check}", problem=problem, remedy=remedy, case=case, paste=paste
    )


def with_properties(site: Site, included: str) -> None:
    folder = site.policies.parent / "debezium"
    folder.mkdir()
    text = PROPERTIES.format(included=included.replace("{s}", site.tables.schema))
    (folder / "north.properties").write_text(text)
    site.changes["capture"] = Capture(directory=folder)


def without_select_of_capture(site: Site) -> None:
    with_properties(site, r"{s}\.t")
    site.run("source", "REVOKE SELECT ON {s}.t FROM sink_capture")


def look_up_a_table_without_grant(site: Site) -> None:
    schema = site.tables.schema
    site.run("source", "CREATE TABLE {s}.words (k text, x text)")
    query = f"SELECT k, x FROM {schema}.words WHERE k = ANY (%s)"
    object.__setattr__(site.tables.mapping, "columns", with_lookup(query)["columns"])


def capture_without_encoding(site: Site) -> None:
    """Read the source from a database of another encoding."""
    tables = site.tables
    tables.source.execute(
        b"CREATE DATABASE bytes_only ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"
    )
    site.undo.callback(tables.source.execute, b"DROP DATABASE bytes_only WITH (FORCE)")
    with closing(connect(tables.postgres.dsn("bytes_only"), "test")) as admin:
        tables.run(
            admin,
            f"CREATE SCHEMA {{s}}; {KEYED}; CREATE PUBLICATION p FOR TABLE {{s}}.t;"
            "GRANT USAGE ON SCHEMA {s} TO sink_reader; GRANT SELECT ON {s}.t TO sink_reader;"
            "GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO sink_reader",
        )
    site.connect_differently("north", "reader_dsn", dbname="bytes_only")


def migrate_target(site: Site) -> None:
    with closing(connect(site.config.databases["south"].dsn, "test")) as session:
        migrate(session)


def leave_a_dead_letter_of_another_key(site: Site) -> None:
    migrate_target(site)
    site.run("target", DEAD_LETTER, undo="DELETE FROM sink.dead_letter WHERE flow = 'bench'")
    key = base64.b64encode(bytes(32)).decode()
    site.changes["dead_letters"] = DeadLetters(key=key, key_id="test")


def register_a_schema_without_a_column(site: Site) -> None:
    topic = site.tables.mapping.source_table.topic
    site.registry.schemas[f"{topic}-value"] = envelope(id="integer!")


def classify_nothing(site: Site) -> None:
    site.changes["policies"] = Policies(directory=POLICIES)


ORIGIN = "FUNCTION pg_replication_origin_create(text)"
MAPPINGS = {
    "schema-without-usage": row(
        "no-usage-of-the-source", "may not use schema", "GRANT USAGE ON SCHEMA", paste="source"
    ),
    "no-target-table": row("no-target", "gone does not exist", "create it, or correct the name"),
    "unlogged-source": row("source-unlogged", "unlogged", "ALTER TABLE", paste="source"),
    "source-of-bytes": Row(
        check="mapping/source_encoding",
        problem="has the encoding SQL_ASCII",
        remedy="createdb -E UTF8",
        breaks=capture_without_encoding,
    ),
    "missing-source-column": row("source-column", "has no column w", "plugin"),
    "identity-of-nothing": row(
        "identity-nothing", "of a delete lacks id", "REPLICA IDENTITY DEFAULT", paste="source"
    ),
    "deferrable-key-of-the-source": row(
        "deferrable-key-of-the-source", "exchange their keys", "ADD PRIMARY KEY", paste="source"
    ),
    "unpublished-table": row(
        "not-published",
        "never captured",
        'ALTER PUBLICATION "sink_publication" ADD TABLE',
        paste="source",
    ),
    "publication-of-inserts": row(
        "publishes-inserts", "does not publish delete, update", "SET (publish = ", paste="source"
    ),
    "publication-with-a-column-list": row(
        "column-list", "leaves out v", "ADD TABLE", paste="source"
    ),
    "publication-with-a-row-filter": row(
        "row-filter", "has a row filter", "ADD TABLE", paste="source"
    ),
    "two-tables-of-one-topic": row(
        "one-topic-for-two-tables", "have one topic", "rename one of the tables"
    ),
    "table-that-is-not-captured": Row(
        check="mapping/capture",
        problem="is not in table.include.list of north.properties",
        remedy="to debezium.source.table.include.list and restart capture",
        breaks=lambda site: with_properties(site, "public.other"),
    ),
    "capture-role-without-select": Row(
        check="mapping/capture_role",
        problem="role sink_capture of capture may not read",
        remedy='GRANT SELECT ("id", "v") ON',
        breaks=without_select_of_capture,
        paste="source",
    ),
    "row-security-of-the-source": row(
        "source-row-security", "hides rows from role sink_reader", "CREATE POLICY", paste="source"
    ),
    "cluster-that-can-not-be-read": Row(
        check="mapping/source_cluster",
        problem="may not read which cluster",
        remedy="GRANT EXECUTE ON FUNCTION pg_control_system()",
        breaks=lambda site: site.run(
            "source",
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM sink_reader, public",
            undo="GRANT EXECUTE ON FUNCTION pg_control_system() TO sink_reader, public",
        ),
        paste="source",
    ),
    "unlogged-target": row("target-unlogged", "a crash empties it", "SET LOGGED", paste="target"),
    "target-with-a-rule": row("target-rule", "rewrite rule", "DROP RULE", paste="target"),
    "missing-target-column": row("target-column", "has no column w", "add the column"),
    "array-into-a-scalar": row("array-into-a-scalar", "an array", "convert="),
    "constant-of-another-type": row(
        "constant-of-another-type", "the constant of column v", "correct the value"
    ),
    "target-without-a-key": row("target-no-key", "id", '("id")', paste="target"),
    "unique-values-that-swap": Row(
        check="mapping/target_unique",
        problem="is checked row by row",
        remedy="DEFERRABLE",
        case=Case(
            "target_unique",
            (),
            source="CREATE TABLE {s}.t (id int PRIMARY KEY, v text UNIQUE DEFERRABLE)",
            target="CREATE TABLE {s}.t (id int PRIMARY KEY, v text UNIQUE)",
        ),
        paste="target",
    ),
    "contested-rows": row(
        "contested-key-that-moves-to-another-row", "deleted by (v)", "declare SetColumns(...)"
    ),
    "version-of-text": row("version-of-text", "not the order of time", "use source_wins()"),
    "date-into-a-number": row("cast-of-a-date", "accepts none of its values", "convert="),
    "lookup-without-a-grant": Row(
        check="mapping/lookups",
        problem="permission denied for table words",
        remedy="GRANT SELECT ON",
        breaks=look_up_a_table_without_grant,
        paste="source",
    ),
    "query-that-fails": row("query-that-fails", "does not exist", "correct the query"),
    "derivation-that-fails": row(
        "derivation-that-fails", 'column "w" does not exist', "correct the query"
    ),
    "reader-without-a-column": row(
        "reader-of-a-batch", "which a batch reads", 'GRANT SELECT ("v", "xmin")', paste="source"
    ),
    "writer-without-insert": row(
        "writer-insert", "lacks INSERT on v", 'GRANT INSERT ("v")', paste="target"
    ),
    "writer-without-update": row(
        "writer-update", "lacks UPDATE on v", 'GRANT UPDATE ("v")', paste="target"
    ),
    "writer-without-select": row(
        "writer-select", "lacks SELECT on id, v", 'GRANT SELECT ("id", "v")', paste="target"
    ),
    "writer-without-delete": row(
        "writer-delete", "may not delete rows", "GRANT DELETE ON", paste="target"
    ),
    "writer-without-an-origin": Row(
        check="mapping/control",
        problem="may not mark its writes with a replication origin",
        remedy="GRANT EXECUTE ON FUNCTION",
        breaks=lambda site: site.run(
            "target",
            f"REVOKE EXECUTE ON {ORIGIN} FROM sink_writer",
            undo=f"GRANT EXECUTE ON {ORIGIN} TO sink_writer",
        ),
        paste="target",
    ),
    "writer-without-temporary-tables": Row(
        check="mapping/control",
        problem="may not create temporary tables",
        remedy="GRANT TEMPORARY ON DATABASE",
        breaks=lambda site: site.run(
            "target",
            "REVOKE TEMPORARY ON DATABASE {database} FROM sink_writer",
            undo="GRANT TEMPORARY ON DATABASE {database} TO sink_writer",
        ),
        paste="target",
    ),
    "writer-without-the-schema-sink": Row(
        check="mapping/control",
        problem="can't create the runner's tables in schema sink",
        remedy="CREATE SCHEMA sink AUTHORIZATION",
        breaks=lambda site: site.run(
            "target",
            "ALTER SCHEMA sink RENAME TO kept",
            undo="DROP SCHEMA IF EXISTS sink; ALTER SCHEMA kept RENAME TO sink",
        ),
        paste="target",
    ),
    "row-security-of-the-target": row(
        "target-row-security-admits-nothing", "admits no row", "CREATE POLICY", paste="target"
    ),
    "unclassified-column": Row(
        check="mapping/schema",
        problem="looks personal and is not classified",
        remedy="classification.json",
        breaks=classify_nothing,
    ),
    "registered-schema-without-a-column": Row(
        check="mapping/registered_schema",
        problem="column v of",
        remedy="sink-runner batch bench --full",
        breaks=register_a_schema_without_a_column,
    ),
    "dead-letters-of-a-missing-key": Row(
        check="mapping/dead_letter_key",
        problem="key 'another' has encrypted",
        remedy="put it into [dead_letters] old_keys",
        breaks=leave_a_dead_letter_of_another_key,
    ),
}
