"""Check the configuration of Debezium, in the folder that setting `capture.directory` names."""

from __future__ import annotations

from collections.abc import Iterator

from ..kafka.capture import CaptureSettings
from ..model.findings import Fault
from ..postgres.catalog import quoted
from .subject import Subject

_ROLE = (
    "SELECT rolreplication OR rolsuper, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s"
)
_USAGE = "SELECT has_schema_privilege(%s::name, %s::text, 'USAGE')"
_LACKING = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY c (name, place)
WHERE NOT has_column_privilege(%s::name, %s::oid, name, 'SELECT') ORDER BY place
"""


def check_capture(subject: Subject) -> Iterator[Fault]:
    """A connector whose lists leave out the source or a column of the mapping."""
    capture, table = subject.capture, subject.source.table
    directory = subject.config.capture.directory
    if not subject.mapping.streaming or directory is None:
        return
    if capture is None:
        yield Fault(
            f"setting capture.directory: {directory} has no properties of a connector with "
            f"topic.prefix={table.database}, so the configuration of capture was not checked",
            "the folder of Debezium's properties",
            "correct the setting, or leave it out",
            refused=False,
        )
        return
    if not capture.captures(table):
        yield Fault(
            f"{table} is not in table.include.list of {capture.path.name}: Debezium does not read "
            "its changes",
            "the table in the list",
            f"add {table.schema}.{table.name} to debezium.source.table.include.list and restart "
            "capture, or correct the setting capture.directory if Debezium reads other properties",
        )
    columns = subject.mapping.source_columns
    if hidden := [name for name in columns if capture.leaves_out(table, name)]:
        yield Fault(
            f"column.exclude.list of {capture.path.name} leaves out {', '.join(hidden)} of {table}",
            "every column that the mapping reads",
            f"take it out of debezium.source.column.exclude.list in {capture.path.name}, or out of "
            "the plugin",
            column=hidden[0],
        )
    if capture.placeholder not in (None, subject.config.capture.placeholder):
        yield Fault(
            f"unavailable.value.placeholder of {capture.path.name} is {capture.placeholder!r}, and "
            f"setting capture.placeholder is {subject.config.capture.placeholder!r}: a large value "
            "that an update does not change would be overwritten by the placeholder",
            "the same placeholder in both",
            f'set placeholder = "{capture.placeholder}" in [capture] of sink-runner.toml',
        )


def check_capture_role(subject: Subject) -> Iterator[Fault]:
    """A role of capture that may not replicate, or not read the source for a snapshot."""
    capture = subject.capture
    if capture is None or capture.user is None or not subject.mapping.streaming:
        return
    role = capture.user
    found = subject.reading.execute(_ROLE, (role,)).fetchone()
    if found is None:
        yield Fault(
            f"role {role} of capture does not exist",
            "the role that debezium.source.database.user names",
            f"CREATE ROLE {quoted(role)} LOGIN REPLICATION",
            refused=False,
        )
        return
    if not found[0]:
        yield Fault(
            f"role {role} of capture may not replicate",
            "REPLICATION",
            f"ALTER ROLE {quoted(role)} REPLICATION",
            refused=False,
        )
    yield from _snapshot_faults(subject, capture, role)
    if subject.source.row_security and not found[1]:
        yield Fault(
            f"row-level security of {subject.source.table} may hide rows from role {role} of "
            "capture: a snapshot would leave them out",
            "a role that sees every row",
            f"ALTER ROLE {quoted(role)} BYPASSRLS",
            refused=False,
        )


def _snapshot_faults(subject: Subject, capture: CaptureSettings, role: str) -> Iterator[Fault]:
    """Privileges that a snapshot of the source table needs and the role does not have."""
    source, session = subject.source, subject.reading
    if session.execute(_USAGE, (role, source.table.schema)).fetchone() != (True,):
        yield Fault(
            f"role {role} of capture may not use schema {source.table.schema}",
            "USAGE, for the snapshot",
            f"GRANT USAGE ON SCHEMA {quoted(source.table.schema)} TO {quoted(role)}",
            refused=False,
        )
    columns = [name for name in source.columns if not capture.leaves_out(source.table, name)]
    rows = session.execute(_LACKING, (columns, role, source.oid)).fetchall()
    if rows:
        lacking = ", ".join(quoted(name) for (name,) in rows)
        yield Fault(
            f"role {role} of capture may not read {source.table}: a snapshot of the table would "
            "stop the capture of its database",
            "SELECT on every column that is captured",
            f"GRANT SELECT ({lacking}) ON {source.sql_name} TO {quoted(role)}",
            refused=False,
        )
