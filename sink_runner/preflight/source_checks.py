"""Check a mapping's source: what its change events contain, and which rows the reader sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..model.findings import Fault
from ..plugin import Table
from ..postgres.catalog import quoted
from ..transform.before_image import columns_before, key_sources
from .publications import publication_faults
from .subject import Subject
from .table_facts import KINDS, PARTITIONED, ReplicaIdentity

_SETTINGS = {
    "d": "its primary key",
    "i": "the columns of an index",
    "f": "every column",
    "n": "nothing",
}
_NO_POLICY = """
SELECT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = %s AND p.polpermissive
         AND p.polcmd IN ('r', '*') AND pg_get_expr(p.polqual, p.polrelid) = 'true'
         AND (0 = ANY (p.polroles) OR EXISTS (SELECT FROM unnest(p.polroles) role
              WHERE role <> 0 AND pg_has_role(role, 'MEMBER'))))
   AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = %s AND NOT p.polpermissive
         AND p.polcmd IN ('r', '*'))
"""
_PUBLISHED = "SELECT DISTINCT schemaname::text, tablename::text FROM pg_publication_tables"


def check_kind(subject: Subject) -> Iterator[Fault]:
    """A table whose changes are not captured, or are captured under another name."""
    source, mapping = subject.source, subject.mapping
    if mapping.query is None and not source.primary_key and not mapping.streaming:
        yield Fault(
            f"{mapping.source} has no primary key, by which a batch reads it",
            "a primary key, or a query",
            f"ALTER TABLE {source.sql_name} ADD PRIMARY KEY (...)",
        )
    if not mapping.streaming:
        return
    if not source.is_table:
        yield Fault(
            f"{mapping.source} is a {KINDS[source.kind]}: PostgreSQL does not publish its changes",
            "a table",
            "name the table behind it as source, or declare streaming=False and a schedule",
        )
    elif source.persistence != "p":
        kind = "an unlogged" if source.persistence == "u" else "a temporary"
        yield Fault(
            f"{mapping.source} is {kind} table: its changes are not written to the log",
            "a table that is logged",
            f"ALTER TABLE {source.sql_name} SET LOGGED",
        )
    elif source.kind != PARTITIONED and source.has_children:
        yield Fault(
            f"{mapping.source} has child tables by inheritance: rows of the children are captured "
            "under their own names and would be missing in the target",
            "a table without children, or declarative partitions",
            f"map each child, or make {source.sql_name} a partitioned table",
        )


def check_encoding(subject: Subject) -> Iterator[Fault]:
    """A database without an encoding: the server refuses to send a text that is not UTF-8."""
    if subject.reading.info.parameter_status("server_encoding") == "SQL_ASCII":
        database = subject.mapping.source_table.database
        yield Fault(
            f"database {database} has the encoding SQL_ASCII: one text that is not UTF-8 stops its "
            "capture and every batch",
            "a database with an encoding",
            "restore it with pg_restore into a database made by createdb -E UTF8 -T template0",
            refused=False,
        )


def check_columns(subject: Subject) -> Iterator[Fault]:
    """A column that does not exist, or that capture leaves out."""
    source, mapping = subject.source, subject.mapping
    if mapping.query is not None:
        return  # its columns are those of the query
    if mapping.streaming:
        yield from _names_differing_by_case(subject)
    for name in mapping.source_columns:
        column = source.columns.get(name)
        if column is None and name not in subject.known:
            yield Fault(
                f"{mapping.source} has no column {name}",
                f"one of {', '.join(source.columns)}",
                "correct the name in the plugin",
                column=name,
            )
        elif column is not None and column.generated and mapping.streaming:
            yield Fault(
                f"column {name} of {mapping.source} is generated: logical replication leaves it "
                "out of every change",
                "a column that is stored by the writer",
                f'ALTER TABLE {source.sql_name} ALTER COLUMN "{name}" DROP EXPRESSION, or read '
                "the columns that it is computed from and declare convert=",
                column=name,
            )


def _names_differing_by_case(subject: Subject) -> Iterator[Fault]:
    """Debezium treats such names as one column, and stops."""
    source, found = subject.source, dict[str, str]()
    for name in source.columns:
        other = found.setdefault(name.lower(), name)
        if other != name:
            yield Fault(
                f"columns {other} and {name} of {subject.mapping.source} differ by case alone: "
                "Debezium refuses such a table, and the capture of the whole database stops",
                "names that differ in more than their case",
                f"ALTER TABLE {source.sql_name} RENAME COLUMN {quoted(name)} TO ...",
                column=name,
            )


def check_replica_identity(subject: Subject) -> Iterator[Fault]:
    """A before image without the source's key or the target's."""
    mapping, source = subject.mapping, subject.source
    if not mapping.streaming or not source.is_table:
        return
    wanted = [name for name in columns_before(mapping) if name in source.columns]
    key = source.primary_key
    if subject.follows or _publishes_changes(subject):
        for identity in source.identities:
            yield from _identity(subject, identity, wanted, key)
    if subject.follows:
        yield from _deferrable_key(subject)
    beyond = sorted(set(wanted) - set(key))
    if beyond and not mapping.needs_before_image:
        yield Fault(
            f"an update of {', '.join(beyond)} in {mapping.source} gives the row another key in "
            f"{mapping.target} and would leave the row with the previous key there",
            "a mapping that uses the before image",
            "declare needs_before_image=True in the plugin",
            column=beyond[0],
        )


def _deferrable_key(subject: Subject) -> Iterator[Fault]:
    """In one statement a row may get the key of another row before that row's key changes."""
    mapping, source = subject.mapping, subject.source
    used = set(key_sources(mapping))
    for index in source.indexes:
        if index.primary and not index.immediate and set(index.columns) <= used:
            key = ", ".join(map(quoted, index.columns))
            yield Fault(
                f"the primary key of {mapping.source} is deferrable: rows may exchange their keys "
                f"in one statement, and no event says which row of {mapping.target} remains",
                "a primary key that is not deferrable",
                f"ALTER TABLE {source.sql_name} DROP CONSTRAINT {quoted(index.name)}, "
                f"ADD PRIMARY KEY ({key})",
            )


def _publishes_changes(subject: Subject) -> bool:
    return any({"update", "delete"} & one.operations for one in subject.publications)


def _identity(
    subject: Subject, identity: ReplicaIdentity, wanted: Sequence[str], key: Sequence[str]
) -> Iterator[Fault]:
    mapping = subject.mapping
    full = f"ALTER TABLE {identity.table} REPLICA IDENTITY FULL"
    carries = _SETTINGS[identity.setting]
    if mapping.needs_before_image and identity.setting != "f":
        yield Fault(
            f"the replica identity of {identity.table} is {carries}, and the mapping needs the "
            "whole row before a change",
            "REPLICA IDENTITY FULL",
            full,
        )
        return
    lacking = identity.lacks([*key, *wanted])
    if lacking or (identity.columns == frozenset() and not key):
        whole = not lacking or bool(set(lacking) - set(key))
        yield Fault(
            f"the replica identity of {identity.table} is {carries}: the event of a delete lacks "
            f"{', '.join(lacking) or 'every column'}, so the row of {mapping.target} is not known",
            f"a replica identity with {', '.join(dict.fromkeys([*key, *wanted]))}",
            full if whole else f"ALTER TABLE {identity.table} REPLICA IDENTITY DEFAULT",
            column=", ".join(lacking),
        )


def check_publication(subject: Subject) -> Iterator[Fault]:
    """A change of the source that is not published under the name that the mapping reads."""
    source = subject.source
    if not (subject.mapping.streaming and source.is_table and source.persistence == "p"):
        return
    yield from publication_faults(
        subject.publications,
        source,
        [*subject.mapping.source_columns, *source.primary_key],
        named=None if subject.capture is None else subject.capture.publication,
        follows=subject.follows,
    )


def check_topic(subject: Subject) -> Iterator[Fault]:
    """Two tables with one topic: Debezium writes _ for a character that a topic may not contain."""
    mapping = subject.mapping
    if not mapping.streaming:
        return
    source = mapping.source_table
    published = subject.reading.execute(_PUBLISHED).fetchall()
    for schema, name in sorted(published):
        other = Table(source.database, schema, name)
        if other != source and other.topic == source.topic:
            yield Fault(
                f"tables {source} and {other} have one topic, {source.topic}: a mapping would "
                "read the rows of both",
                "a topic for each captured table",
                "rename one of the tables, or take the other out of every publication and of "
                "table.include.list in debezium-config",
            )


def check_row_security(subject: Subject) -> Iterator[Fault]:
    """A reader that sees some of the rows only: a batch would delete the others."""
    source, role = subject.source, subject.reading.info.user
    if not source.row_security_active:
        return
    if subject.reading.execute(_NO_POLICY, (source.oid, source.oid)).fetchone() == (True,):
        return
    yield Fault(
        f"row-level security of {subject.mapping.source} hides rows from role {role}: a batch "
        "would delete them from the target",
        "a reader that sees every row",
        f'CREATE POLICY sink_reads ON {source.sql_name} FOR SELECT TO "{role}" USING (true), or '
        f'ALTER ROLE "{role}" BYPASSRLS',
        refused=bool(subject.mapping.schedules) or not subject.mapping.streaming,
        refuses_batch=True,
    )
