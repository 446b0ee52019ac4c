"""Checks of a mapping's source: what its log carries, and who may see which of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..model.findings import Fault
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


def check_kind(subject: Subject) -> Iterator[Fault]:
    """A table whose changes are not in the log, or come under another name."""
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
    """Bytes of no known encoding: the server refuses to send a text that is not UTF-8."""
    if subject.reading.info.parameter_status("server_encoding") == "SQL_ASCII":
        database = subject.mapping.source_table.database
        yield Fault(
            f"database {database} has the encoding SQL_ASCII: one text that is not UTF-8 stops its "
            "capture and every batch",
            "a database that knows the encoding of its texts",
            "restore it with pg_restore into a database made by createdb -E UTF8 -T template0",
            refused=False,
        )


def check_columns(subject: Subject) -> Iterator[Fault]:
    """A column that does not exist, or that capture leaves out."""
    source, mapping = subject.source, subject.mapping
    if mapping.query is not None:
        return  # its columns are those of the query
    if mapping.streaming:
        yield from _alike(subject)
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


def _alike(subject: Subject) -> Iterator[Fault]:
    """Debezium takes such names for one column, and ends."""
    source, found = subject.source, dict[str, str]()
    for name in source.columns:
        other = found.setdefault(name.lower(), name)
        if other != name:
            yield Fault(
                f"columns {other} and {name} of {subject.mapping.source} differ by case alone: "
                "Debezium reads no such table, and the capture of the whole database ends",
                "names that differ in more than their case",
                f"ALTER TABLE {source.sql_name} RENAME COLUMN {quoted(name)} TO ...",
                column=name,
            )


def check_replica_identity(subject: Subject) -> Iterator[Fault]:
    """The old row of a change has to carry the source's key and the target's."""
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
            f"{mapping.target} and would leave the old row there",
            "the mapping to ask for the row before the change",
            "declare needs_before_image=True in the plugin",
            column=beyond[0],
        )


def _deferrable_key(subject: Subject) -> Iterator[Fault]:
    """In one statement a row may take the key of another before that one gives it up."""
    mapping, source = subject.mapping, subject.source
    used = set(key_sources(mapping))
    for index in source.indexes:
        if index.primary and not index.immediate and set(index.columns) <= used:
            key = ", ".join(map(quoted, index.columns))
            yield Fault(
                f"the primary key of {mapping.source} is deferrable: rows may exchange their keys "
                f"in one statement, and no event tells which of them is left in {mapping.target}",
                "a primary key that is checked at once",
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
            f"the replica identity of {identity.table} is {carries}: a delete does not carry "
            f"{', '.join(lacking) or 'any column'}, so the row of {mapping.target} can't be told",
            f"a replica identity with {', '.join(dict.fromkeys([*key, *wanted]))}",
            full if whole else f"ALTER TABLE {identity.table} REPLICA IDENTITY DEFAULT",
            column=", ".join(lacking),
        )


def check_publication(subject: Subject) -> Iterator[Fault]:
    """Every change of the source is published, under the name that the mapping reads."""
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


def check_row_security(subject: Subject) -> Iterator[Fault]:
    """A reader that sees a part of the rows would take the others for deleted."""
    source, role = subject.source, subject.reading.info.user
    if not source.row_security_active:
        return
    if subject.reading.execute(_NO_POLICY, (source.oid, source.oid)).fetchone() == (True,):
        return
    yield Fault(
        f"row-level security of {subject.mapping.source} hides rows from role {role}: a batch "
        "would take them for deleted",
        "a reader that sees every row",
        f'CREATE POLICY sink_reads ON {source.sql_name} FOR SELECT TO "{role}" USING (true), or '
        f'ALTER ROLE "{role}" BYPASSRLS',
        refused=bool(subject.mapping.schedules) or not subject.mapping.streaming,
        refuses_batch=True,
    )
