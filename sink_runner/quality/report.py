"""Read the quality report of a mapping: counts for each rule, dead letters, stale rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

from ..config.dsn import Dsn
from ..model.quality_rules import DEFAULT
from ..plugin import TableMapping
from ..postgres.catalog import quoted, read_table
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import has_tables
from ..postgres.session import connect

Connection = psycopg.Connection[Any]

_COUNTS = """
SELECT rule, column_name, sum(rows)::bigint, max(day) FROM sink.quality_count
WHERE mapping = %s AND day > (now() AT TIME ZONE 'UTC')::date - %s::int
GROUP BY rule, column_name ORDER BY rule, column_name
"""
_DEAD_LETTERS = """
SELECT count(*) FILTER (WHERE status = 'OPEN'), count(*) FILTER (WHERE status = 'PARKED')
FROM sink.dead_letter WHERE flow = %s
"""
# The session's time zone is UTC, so columns without zone are compared as UTC.
_COUNT_STALE = "SELECT count(*) FILTER (WHERE {version} < now() - %s), count(*) FROM {table}"
_TIME_TYPES = ("date", "timestamp", "timestamptz")


@dataclass(frozen=True, slots=True)
class Count:
    """Rows that broke a rule; for the rule ``default``, rows in which a default was used."""

    rule: str
    column: str
    """"" if the rule is about the whole row."""
    rows: int
    last: date


@dataclass(frozen=True, slots=True)
class Stale:
    """Rows of the target whose version is older than `days`."""

    column: str
    days: float
    rows: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The quality of one mapping."""

    mapping: str
    target: str
    counts: tuple[Count, ...]
    open_dead_letters: int
    waiting: int
    stale: Stale | None
    """None if the conflict rule has no version column, or it contains no time."""

    @property
    def broken(self) -> int:
        return sum(count.rows for count in self.counts if count.rule != DEFAULT)

    @property
    def defaults(self) -> int:
        return sum(count.rows for count in self.counts if count.rule == DEFAULT)


def read_report(
    name: str, mapping: TableMapping, dsn: Dsn, *, days: int, stale_after: float
) -> Report:
    """Read the counts of the last `days` days; a row older than `stale_after` days is stale.

    Raises ConfigError for a missing target table, RetriableError for a database that is down.
    """
    with classified_errors(), connect(dsn, "sink-runner quality") as connection:
        written = has_tables(connection)
        dead_letters = connection.execute(_DEAD_LETTERS, (name,)).fetchone() if written else None
        return Report(
            mapping=name,
            target=mapping.target,
            counts=_read_counts(connection, name, days) if written else (),
            open_dead_letters=dead_letters[0] if dead_letters else 0,
            waiting=dead_letters[1] if dead_letters else 0,
            stale=_count_stale(connection, mapping, stale_after),
        )


def _read_counts(connection: Connection, name: str, days: int) -> tuple[Count, ...]:
    return tuple(Count(*row) for row in connection.execute(_COUNTS, (name, days)).fetchall())


def _count_stale(connection: Connection, mapping: TableMapping, days: float) -> Stale | None:
    version = mapping.conflict.version
    table = read_table(connection, mapping.target_table)
    column = None if version is None else table.columns.get(version)
    if column is None or not column.pg.is_builtin(*_TIME_TYPES):
        return None
    query = _COUNT_STALE.format(version=quoted(column.name), table=table.sql_name)
    found = connection.execute(query.encode(), (timedelta(days=days),)).fetchone()
    assert found is not None
    return Stale(column.name, days, *found)
