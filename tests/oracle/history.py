"""The changes of the source tables, recorded by triggers in their databases."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import set_json_loads

Row = Mapping[str, Any]
"""A row as PostgreSQL's to_jsonb formats it: UUIDs, dates and times as text, numbers exact."""

SINK = "sink_writer"

_CHANGES: LiteralString = """SELECT seq, relation, old, new, writer FROM history.change
                            WHERE relation = %s ORDER BY seq"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed change of one row; `seq` orders the changes of a row."""

    seq: int
    relation: str
    old: Row | None = None
    new: Row | None = None
    writer: str = "warehouse"

    @property
    def by_sink(self) -> bool:
        return self.writer == SINK


def install(connection: psycopg.Connection, database: str) -> None:
    """Create the triggers of a database and record its existing rows as the initial state."""
    here = Path(__file__).parent
    with connection.transaction():
        for name in ("history.sql", f"history_{database}.sql"):
            connection.execute((here / name).read_bytes())


def read_changes(connection: psycopg.Connection, relation: str) -> list[Change]:
    """Return all changes of one table, in commit order."""
    return [Change(**row) for row in fetch_rows(connection, _CHANGES, (relation,))]


def fetch_rows(
    connection: psycopg.Connection, query: LiteralString, parameters: tuple[Any, ...] = ()
) -> list[dict[str, Any]]:
    """Return the rows of a query as to_jsonb formats them, with exact numbers."""
    wrapped: LiteralString = "SELECT to_jsonb(t) FROM (" + query + ") AS t"
    with connection.cursor() as cursor:
        set_json_loads(partial(json.loads, parse_float=Decimal), cursor)
        return [row for (row,) in cursor.execute(wrapped, parameters)]


def split_key_changes(changes: Iterable[Change], key: str) -> Iterator[Change]:
    """Yield the changes with each update of the key as a deletion and an insertion."""
    for change in changes:
        old, new = change.old, change.new
        if old is None or new is None or old[key] == new[key]:
            yield change
        else:
            yield replace(change, new=None)
            yield replace(change, old=None)


def replay(changes: Iterable[Change], key: str) -> dict[Any, Row]:
    """Return the final rows by key."""
    table: dict[Any, Row] = {}
    for change in split_key_changes(changes, key):
        if change.new is not None:
            table[change.new[key]] = change.new
        elif change.old is not None:
            table.pop(change.old[key], None)
    return table


def parse_time(text: str) -> datetime:
    """Parse a time without zone, which is in UTC."""
    return datetime.fromisoformat(text)
