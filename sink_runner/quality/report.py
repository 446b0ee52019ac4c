"""What a target database knows of a mapping's quality: counts by rule, dead letters, age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

from ..config.dsn import Dsn
from ..model.quality_rules import DEFAULT
from ..plugin import TableMapping
from ..postgres.catalog import quoted, read_table
from ..postgres.error_classes import classify_error
from ..postgres.migrations import has_tables
from ..postgres.session import connect

Connection = psycopg.Connection[Any]

_COUNTS = """
SELECT rule, column_name, sum(rows)::bigint, max(day) FROM sink.quality_count
WHERE mapping = %s AND day > (now() AT TIME ZONE 'UTC')::date - %s::int
GROUP BY rule, column_name ORDER BY rule, column_name
"""
_LETTERS = """
SELECT count(*) FILTER (WHERE status = 'OPEN'), count(*) FILTER (WHERE status = 'PARKED')
FROM sink.dead_letter WHERE flow = %s
"""
# The session's zone is UTC, so a column without zone compares as what it is.
_STALE = "SELECT count(*) FILTER (WHERE {version} < now() - %s), count(*) FROM {table}"
_MOMENTS = ("date", "timestamp", "timestamptz")


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows broke a rule; under the rule ``default``, how often one was used."""

    rule: str
    column: str
    """"" where the rule is about the whole row."""
    rows: int
    last: date


@dataclass(frozen=True, slots=True)
class Stale:
    """How many of the target's rows have a version older than the threshold."""

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
    """None where the target has no column that tells a row's age."""

    @property
    def broken(self) -> int:
        return sum(count.rows for count in self.counts if count.rule != DEFAULT)

    @property
    def defaults(self) -> int:
        return sum(count.rows for count in self.counts if count.rule == DEFAULT)


def read_report(
    name: str, mapping: TableMapping, dsn: Dsn, *, days: int, stale_after: float
) -> Report:
    """Ask the mapping's target for the last `days` days; a row older than `stale_after` is stale.

    Raises ConfigError for a target that is not there, RetriableError for a database that is not.
    """
    try:
        with connect(dsn, "sink-runner quality") as connection:
            written = has_tables(connection)
            dead_letters = connection.execute(_LETTERS, (name,)).fetchone() if written else None
            return Report(
                mapping=name,
                target=mapping.target,
                counts=_counts(connection, name, days) if written else (),
                open_dead_letters=dead_letters[0] if dead_letters else 0,
                waiting=dead_letters[1] if dead_letters else 0,
                stale=_stale(connection, mapping, stale_after),
            )
    except psycopg.Error as fault:
        raise classify_error(fault) from fault


def _counts(connection: Connection, name: str, days: int) -> tuple[Count, ...]:
    return tuple(Count(*row) for row in connection.execute(_COUNTS, (name, days)).fetchall())


def _stale(connection: Connection, mapping: TableMapping, days: float) -> Stale | None:
    version = mapping.conflict.version
    table = read_table(connection, mapping.target_table)
    column = None if version is None else table.columns.get(version)
    if column is None or not column.pg.is_builtin(*_MOMENTS):
        return None
    query = _STALE.format(version=quoted(column.name), table=table.sql_name)
    found = connection.execute(query.encode(), (timedelta(days=days),)).fetchone()
    assert found is not None
    return Stale(column.name, days, *found)
