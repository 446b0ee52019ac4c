"""Copies demo data into both databases: all of it in one transaction each, in bounded memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import sql

from .families import SERIALS
from .places import DISTRICTS
from .rows import Plan, Rows, batches, reference
from .schemes import SCHEMES

DATABASES = ("smart_warehouse", "smart_citizen")

_BATCH_FAMILIES = 500
_PROBE = {"smart_warehouse": "public.golden_records", "smart_citizen": "public.citizens"}
_LOCK = 0x64656D6F  # any number that all loads agree on

Connections = Mapping[str, psycopg.Connection]


class NotEmptyError(Exception):
    """A database already holds data."""


def load(
    dsns: Mapping[str, str], plan: Plan, *, if_empty: bool, advance: Callable[[int], None]
) -> tuple[str, ...]:
    """Fill the databases and return their names; `advance` is called with each batch of families.

    With `if_empty` a database that holds data is left alone; without it that is an error.
    """
    with ExitStack() as stack:
        opened = {name: stack.enter_context(_locked(dsns[name])) for name in DATABASES}
        filled = [name for name in DATABASES if not is_empty(opened[name], name)]
        if filled and not if_empty:
            raise NotEmptyError(f"data is in {' and '.join(filled)} already")
        empty = {name: opened[name] for name in DATABASES if name not in filled}
        if empty:
            _fill(empty, plan, advance)
        for connection in empty.values():
            connection.commit()
    return tuple(empty)


def is_empty(connection: psycopg.Connection, database: str) -> bool:
    row = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(_name(_PROBE[database]))
    ).fetchone()
    assert row is not None
    return not row[0]


def counts(connection: psycopg.Connection) -> Iterator[tuple[str, int]]:
    """Every table of the database, and its rows."""
    tables = connection.execute(
        """SELECT schemaname || '.' || tablename FROM pg_tables
           WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"""
    )
    for (table,) in tables.fetchall():
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_name(table))).fetchone()
        assert row is not None
        yield table, row[0]


@contextmanager
def _locked(dsn: str) -> Iterator[psycopg.Connection]:
    """Open a transaction that no other load runs beside; it is undone unless it was committed."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        try:
            yield connection
        finally:
            connection.rollback()


def _fill(connections: Connections, plan: Plan, advance: Callable[[int], None]) -> None:
    fixed = reference(plan)
    tables = {database: set(rows) for database, rows in fixed.items()}
    _copy_all(connections, fixed)
    for count, rows in batches(plan, _BATCH_FAMILIES):
        _copy_all(connections, rows)
        for database, made in rows.items():
            tables[database].update(made)
        advance(count)
    for database, connection in connections.items():
        for sequence, last in _given(database, plan).items():
            connection.execute("SELECT setval(%s, %s)", (sequence, last))
        # By name: a bare ANALYZE would lock the shared catalogs, which the other session wants too.
        connection.execute(
            sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(map(_name, tables[database])))
        )


def _given(database: str, plan: Plan) -> dict[str, int]:
    """Sequences that ids and numbers were given beside, and the last that was."""
    if database == "smart_citizen":
        return {"public.application_number_seq": plan.families * SERIALS}
    return {
        "public.districts_district_id_seq": len(DISTRICTS),
        "public.scheme_master_scheme_id_seq": len(SCHEMES),
    }


def _copy_all(connections: Connections, rows: Mapping[str, Rows]) -> None:
    for database, connection in connections.items():
        for table, made in rows[database].items():
            if made:
                _copy(connection, table, made)


def _copy(connection: psycopg.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        _name(table), sql.SQL(", ").join(sql.Identifier(column) for column in rows[0])
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))
