"""Check the privileges of the runner's roles; the remedy of a fault is the GRANT to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import psycopg

from ..model.findings import Fault
from ..plugin import Strategy
from ..postgres.catalog import quoted
from ..postgres.grants import ORIGIN_FUNCTIONS
from ..postgres.session import Connection
from .subject import Subject
from .table_facts import PARTITIONED, TableFacts

_GRANTABLE = frozenset({"r", PARTITIONED})
_LACKING = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY c (name, place)
WHERE NOT has_column_privilege(%s::oid, name, %s) ORDER BY place
"""
_DELETE = "SELECT has_table_privilege(%s::oid, 'DELETE')"
_TEMPORARY = "SELECT has_database_privilege(current_database(), 'TEMPORARY'), current_database()"
# The schema's owner may do all of this.
_CONTROL = """
SELECT n.oid IS NOT NULL,
       CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') END
FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = 'sink'
"""
_ORIGINS = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s)
  AND NOT has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1
"""


def check_reader(subject: Subject) -> Iterator[Fault]:
    """A reader without a privilege that a batch needs on the source."""
    source, mapping = subject.source, subject.mapping
    if mapping.query is not None:
        return  # the query itself is checked
    names = [*mapping.source_columns, *source.primary_key]
    if source.kind in _GRANTABLE:
        names.append("xmin")  # by which a batch finds what was written since the last run
    present = [name for name in dict.fromkeys(names) if name in source.columns or name == "xmin"]
    needed = bool(mapping.schedules) or not mapping.streaming
    for fault in _column_faults(subject.reading, source, "SELECT", present):
        yield Fault(
            f"{fault.problem}, which a batch reads",
            fault.expected,
            fault.remedy,
            column=fault.column,
            refused=needed,
            refuses_batch=True,
        )


def check_writer(subject: Subject) -> Iterator[Fault]:
    """A writer without a privilege that the mapping's strategy needs on the target."""
    target, session = subject.target, subject.writing
    if target.kind not in _GRANTABLE:
        return
    for privilege, names in _needed(subject).items():
        present = [name for name in dict.fromkeys(names) if name in target.columns]
        yield from _column_faults(session, target, privilege, present)
    if subject.deletes and session.execute(_DELETE, (target.oid,)).fetchone() != (True,):
        role = session.info.user
        yield Fault(
            f"role {role} may not delete rows of {target.table}",
            "DELETE, since the row of a deleted or removed source row is deleted",
            f"GRANT DELETE ON {target.sql_name} TO {quoted(role)}, or declare on_delete=Ignore()",
        )


def _needed(subject: Subject) -> dict[str, Sequence[str]]:
    """Privileges, and the columns of the target that each is needed on."""
    mapping = subject.mapping
    if mapping.derived is not None:
        try:
            derived = subject.derived
        except psycopg.Error:
            return {}  # check_derivation reports it
        updated = [name for name in derived if name not in mapping.key]
        return {"INSERT": derived, "UPDATE": updated, "SELECT": derived}
    once = mapping.conflict.strategy is Strategy.INSERT_ONCE
    read = mapping.key if once else (*mapping.key, *subject.compared)
    return {
        "INSERT": subject.written,
        "UPDATE": (*subject.updated, *subject.marked),
        "SELECT": (*read, *subject.marked),
    }


def _column_faults(
    session: Connection, table: TableFacts, privilege: str, names: Iterable[str]
) -> Iterator[Fault]:
    role, names = session.info.user, list(names)
    rows = session.execute(_LACKING, (names, table.oid, privilege)).fetchall()
    if not rows:
        return
    lacking = [name for (name,) in rows]
    columns = ", ".join(quoted(name) for name in lacking)
    yield Fault(
        f"role {role} lacks {privilege} on {', '.join(lacking)} of {table.table}",
        f"{privilege} on every column that the mapping needs",
        f"GRANT {privilege} ({columns}) ON {table.sql_name} TO {quoted(role)}",
        column=", ".join(lacking),
    )


def check_control(subject: Subject) -> Iterator[Fault]:
    """A writer that may not create the runner's tables, stage a batch or use an origin."""
    session = subject.writing
    role, database = session.info.user, subject.target.table.database
    exists, allowed = session.execute(_CONTROL).fetchone() or (False, False)
    if not allowed:
        yield Fault(
            f"role {role} can't create the runner's tables in schema sink of database {database}",
            "a schema sink that belongs to the role",
            f"ALTER SCHEMA sink OWNER TO {quoted(role)}"
            if exists
            else f"CREATE SCHEMA sink AUTHORIZATION {quoted(role)}",
        )
    temporary, actual = session.execute(_TEMPORARY).fetchone() or (False, database)
    if not temporary:
        yield Fault(
            f"role {role} may not create temporary tables in database {database}",
            "TEMPORARY, since a batch is staged in one",
            f"GRANT TEMPORARY ON DATABASE {quoted(actual)} TO {quoted(role)}",
        )
    yield from _origins(subject)


def _origins(subject: Subject) -> Iterator[Fault]:
    session = subject.writing
    role = session.info.user
    lacking = [name for (name,) in session.execute(_ORIGINS, (ORIGIN_FUNCTIONS,)).fetchall()]
    if lacking:
        yield Fault(
            f"role {role} may not mark its writes with a replication origin",
            f"EXECUTE on {', '.join(lacking)}",
            f"GRANT EXECUTE ON FUNCTION {', '.join(lacking)} TO {quoted(role)}",
        )
