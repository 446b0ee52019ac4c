"""Compute what the flows must have written, in one session that sees both databases."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from . import history
from .history import Row

_HERE = Path(__file__).parent
_PORTAL_TABLES = {
    "portal_change": "history.change",
    "portal_citizens": "public.citizens",
    "portal_schemes": "public.schemes",
    "portal_service_applications": "public.service_applications",
    "portal_user_behavior_events": "public.user_behavior_events",
}
_COLUMNS: LiteralString = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


@contextmanager
def open_session(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[psycopg.Connection]:
    """Yield the warehouse's session with copies of the portal's tables; roll it back at the end.

    `runs` are the batch runs: the name of the flow and the time at which the run read its source.
    """
    with warehouse.transaction(force_rollback=True):
        for name, table in _PORTAL_TABLES.items():
            _copy_table(citizen, table, warehouse, name)
        warehouse.execute("CREATE TEMP TABLE batch_run (flow text, at timestamptz)")
        for run in runs:
            warehouse.execute("INSERT INTO batch_run VALUES (%s, %s)", run)
        warehouse.execute((_HERE / "session.sql").read_bytes())
        yield warehouse


def compute_rows(session: psycopg.Connection, flow: str) -> dict[str, Row]:
    """Return the expected rows of a flow's target by key, with the columns that are checked."""
    query = (_HERE / "flows" / f"{flow}.sql").read_text(encoding="utf-8")
    # The type checker requires a literal string; the text comes from a file of this folder.
    rows = history.fetch_rows(session, query)  # type: ignore[arg-type]
    return {row["key"]: row["columns"] for row in rows}


def _copy_table(
    source: psycopg.Connection, table: str, target: psycopg.Connection, name: LiteralString
) -> None:
    columns = source.execute(_COLUMNS, [table]).fetchall()
    body = sql.SQL(", ").join(
        sql.SQL("{} ").format(sql.Identifier(column)) + sql.SQL(kind) for column, kind in columns
    )
    target.execute(sql.SQL("CREATE TEMP TABLE {} ({})").format(sql.Identifier(name), body))
    read = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(*table.split(".")))
    write = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(name))
    with (
        source.cursor().copy(read) as rows,
        target.cursor().copy(write) as copy,
    ):
        for chunk in rows:
            copy.write(chunk)
