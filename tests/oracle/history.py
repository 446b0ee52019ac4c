"""What happened to the source tables, recorded by triggers of their own databases."""

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
"""A row as PostgreSQL's to_jsonb spells it: UUIDs, dates and times are text, numbers are exact."""

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
    """Record every change from now on; what is there already becomes the beginning."""
    here = Path(__file__).parent
    with connection.transaction():
        for name in ("history.sql", f"history_{database}.sql"):
            connection.execute((here / name).read_bytes())


def read(connection: psycopg.Connection, relation: str) -> list[Change]:
    """All changes of one table, in order."""
    return [Change(**row) for row in rows(connection, _CHANGES, (relation,))]


def rows(
    connection: psycopg.Connection, query: LiteralString, parameters: tuple[Any, ...] = ()
) -> list[dict[str, Any]]:
    """Rows as to_jsonb spells them, numbers exact."""
    wrapped: LiteralString = "SELECT to_jsonb(t) FROM (" + query + ") AS t"
    with connection.cursor() as cursor:
        set_json_loads(partial(json.loads, parse_float=Decimal), cursor)
        return [row for (row,) in cursor.execute(wrapped, parameters)]


def apart(changes: Iterable[Change], key: str) -> Iterator[Change]:
    """The same changes, with an update of the key as what it is: one row gone, another come."""
    for change in changes:
        old, new = change.old, change.new
        if old is None or new is None or old[key] == new[key]:
            yield change
        else:
            yield replace(change, new=None)
            yield replace(change, old=None)


def final(changes: Iterable[Change], key: str) -> dict[Any, Row]:
    """The table that a history ends in."""
    table: dict[Any, Row] = {}
    for change in apart(changes, key):
        if change.new is not None:
            table[change.new[key]] = change.new
        elif change.old is not None:
            table.pop(change.old[key], None)
    return table


def moment(text: str) -> datetime:
    """A time without zone; all of them mean UTC."""
    return datetime.fromisoformat(text)
