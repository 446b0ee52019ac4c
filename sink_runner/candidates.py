"""Many source rows to one target row: remember the losers, derive a group's rows anew.

The candidates live in a table of the runner in the target database and change in the same
transaction as what is derived from them.  One advisory lock a group, taken in sorted order,
keeps two runners from deriving a group at once, each without the other's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg

from .catalog import TableCatalog, qualified, quoted
from .changes import Change, Round, rounds
from .errors import ConfigError
from .plugin import Candidates, TableMapping
from .row import TargetColumn
from .statements import POSITION, Statements
from .target import creating
from .writer import Writer, key_arrays, run

Connection = psycopg.Connection[Any]

_EXPIRE_AT_ONCE = 5_000  # rows of one transaction of the purge


def candidate_table(mapping: str) -> str:
    """The quoted name of the mapping's candidate table."""
    return qualified("sink", "candidates_" + mapping.replace("-", "_"))


class CandidateWriter:
    """Writes candidates and the rows derived from them."""

    def __init__(
        self, mapping: TableMapping, statements: Statements, target: TableCatalog, writer: Writer
    ) -> None:
        assert mapping.candidates is not None
        self._candidates: Candidates = mapping.candidates
        self._mapping = mapping
        self._sql = statements
        self._target = target
        self._writer = writer
        self._touched = quoted(f"touched_{statements.mapping}")
        self._derive = ""

    @property
    def remembers(self) -> bool:
        return self._writer.remembers

    @remembers.setter
    def remembers(self, value: bool) -> None:
        self._writer.remembers = value

    def prepare(self, connection: Connection) -> None:
        """Make the candidate table and the session's temporary tables."""
        with creating(connection):
            for statement in _create(self._sql.target, self._sql.columns, self._candidates):
                run(connection, statement)
        self._writer.prepare(connection)
        group = ", ".join(f"{quoted(n)} {self._types[n]}" for n in self._candidates.group)
        run(connection, f"CREATE TEMP TABLE {self._touched} ({group}) ON COMMIT DELETE ROWS")
        self._derive = self._derivation(self._derived_columns(connection))

    def write(self, connection: Connection, changes: Iterable[Change], now: datetime) -> int:
        """Apply the changes to the candidates, then derive every group they touched."""
        for part in rounds(changes, self._writer.fold):
            self._touch(connection, part)
            self._writer.write_round(connection, part)
            self._touch(connection, part)
        return self._derive_touched(connection, now)

    def expire(self, connection: Connection, now: datetime) -> int:
        """Forget candidates that are past their age and derive their groups; once is not all."""
        column, age = self._candidates.expire_column, self._candidates.expire_after
        if column is None or age is None:
            return 0
        group = _list(self._candidates.group)
        aged = run(
            connection,
            f"WITH gone AS (DELETE FROM {self._sql.target} WHERE ctid IN "
            f"(SELECT ctid FROM {self._sql.target} WHERE {quoted(column)} < %s LIMIT %s) "
            f"RETURNING {group}) INSERT INTO {self._touched} SELECT DISTINCT {group} FROM gone",
            (now - age, _EXPIRE_AT_ONCE),
        ).rowcount
        return self._derive_touched(connection, now) if aged else 0

    @property
    def _types(self) -> dict[str, str]:
        return {column.name: column.type for column in self._sql.columns}

    def _touch(self, connection: Connection, part: Round) -> None:
        keys = sorted([*part.writes, *part.leaves], key=str)
        if not keys:
            return
        group = ", ".join(f"t.{quoted(name)}" for name in self._candidates.group)
        run(
            connection,
            f"INSERT INTO {self._touched} SELECT DISTINCT {group} FROM {self._sql.existing}",
            key_arrays(keys),
        )

    def _derive_touched(self, connection: Connection, now: datetime) -> int:
        parts = " || '/' || ".join(f"{quoted(name)}::text" for name in self._candidates.group)
        run(
            connection,
            f"SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT "
            f"hashtextextended(%s || {parts}, 0) AS h FROM {self._touched} ORDER BY h) x",
            (self._sql.mapping,),
        )
        counted = run(connection, self._derive, {"now": now}).fetchone()
        assert counted is not None
        return int(counted[0])

    # -- the derivation's SQL ------------------------------------------------------------------

    def _select(self) -> str:
        group = _list(self._candidates.group)
        mine = (
            f"(SELECT c.* FROM {self._sql.target} c "
            f"WHERE ({group}) IN (SELECT {group} FROM {self._touched}))"
        )
        return self._candidates.select.replace("{candidates}", mine).replace(
            "{now}", "%(now)s::timestamp"
        )

    def _derived_columns(self, connection: Connection) -> list[str]:
        query = f"SELECT * FROM ({self._select()}) d LIMIT 0"
        described = run(connection, query, {"now": None}).description
        names = [column.name for column in described or ()]
        needed = {*self._mapping.key, *self._candidates.group}
        unknown = sorted(set(names) - self._target.columns.keys())
        if unknown or not needed <= set(names):
            raise ConfigError(
                f"the derivation for {self._mapping.target} must return the target's columns, "
                f"{sorted(needed)} among them; unknown: {unknown}"
            )
        return names

    def _derivation(self, names: Sequence[str]) -> str:
        table, key = self._target.sql_name, self._mapping.key
        group = _list(self._candidates.group)
        others = [name for name in names if name not in key]
        sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
        old = ", ".join(f"t.{quoted(name)}" for name in others)
        new = ", ".join(f"excluded.{quoted(name)}" for name in others)
        return (
            f"WITH wanted AS MATERIALIZED ({self._select()}), "
            f"gone AS (DELETE FROM {table} t WHERE ({group}) IN "
            f"(SELECT {group} FROM {self._touched}) AND NOT EXISTS (SELECT FROM wanted w "
            f"WHERE {' AND '.join(f't.{quoted(n)} = w.{quoted(n)}' for n in key)}) RETURNING 1), "
            f"put AS (INSERT INTO {table} AS t ({_list(names)}) SELECT {_list(names)} FROM wanted "
            f"ORDER BY {_list(key)} ON CONFLICT ({_list(key)}) DO UPDATE SET {sets} "
            f"WHERE ROW({old}) IS DISTINCT FROM ROW({new}) RETURNING 1) "
            "SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM put)"
        )


def _create(table: str, columns: Sequence[TargetColumn], candidates: Candidates) -> list[str]:
    defined = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
    key = _list(candidates.key)
    body = f"{defined}, {POSITION} bigint NOT NULL, PRIMARY KEY ({key})"
    statements = [f"CREATE TABLE IF NOT EXISTS {table} ({body})"]
    indexed = [candidates.group]
    if candidates.expire_column is not None:
        indexed.append((candidates.expire_column,))
    for names in indexed:
        index = quoted(f"{table.rsplit('.', 1)[1].strip(chr(34))}_{'_'.join(names)}")
        statements.append(f"CREATE INDEX IF NOT EXISTS {index} ON {table} ({_list(names)})")
    return statements


def _list(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
