"""One session that sees both databases, and what the flows should have made of them."""

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
FLOWS = tuple(sorted(path.stem for path in (_HERE / "flows").glob("*.sql")))
"""Each named after its target table."""
_PORTAL = {
    "portal_change": "history.change",
    "portal_citizens": "public.citizens",
    "portal_schemes": "public.schemes",
    "portal_service_applications": "public.service_applications",
    "portal_user_behavior_events": "public.user_behavior_events",
}
_COLUMNS: LiteralString = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


@contextmanager
def both(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[psycopg.Connection]:
    """The session of the warehouse in a transaction that is undone.

    `runs` tell when batches looked: the target, and the moment.
    """
    with warehouse.transaction(force_rollback=True):
        for name, table in _PORTAL.items():
            _copy(citizen, table, warehouse, name)
        warehouse.execute("CREATE TEMP TABLE run (flow text, at timestamptz)")
        for run in runs:
            warehouse.execute("INSERT INTO run VALUES (%s, %s)", run)
        warehouse.execute((_HERE / "both.sql").read_bytes())
        yield warehouse


def expected(session: psycopg.Connection, flow: str) -> dict[str, Row]:
    """The rows of a target by their key, with the columns that they must have."""
    query = (_HERE / "flows" / f"{flow}.sql").read_text(encoding="utf-8")
    # The statements are files of this folder.
    found = history.rows(session, query)  # type: ignore[arg-type]
    return {row["key"]: row["columns"] for row in found}


def _copy(
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
