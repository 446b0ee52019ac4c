"""After a run, compare rows of the target with their source rows, mapped again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from ..errors import EventError
from ..model.changes import Write
from ..model.portions import DEFAULT_BYTES, byte_size
from ..plugin import Strategy, TableMapping
from ..postgres.catalog import quoted
from ..postgres.comparison import as_base, differ, stored
from ..postgres.error_classes import classify_error
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from ..writer.committer import Connection
from .keys import TargetKeys

SAMPLE = 100  # rows
_PAUSE = 1.0  # seconds; an event of a recent change of the source may be on its way


class Sample:
    """A random sample of a run's writes, of at most `size` rows and `max_bytes` bytes."""

    def __init__(self, size: int = SAMPLE, max_bytes: int = DEFAULT_BYTES) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._seen = 0
        self._random = random.Random(0)  # noqa: S311 - nothing secret; runs are repeatable
        self.writes: list[Write] = []

    def add(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._seen += 1
            if len(self.writes) < self._size:
                self.writes.append(write)
            elif (at := self._random.randrange(self._seen)) < self._size:
                self.writes[at] = write
            else:
                continue
            self._shrink()

    def _shrink(self) -> None:
        while (
            len(self.writes) > 1 and sum(byte_size(w.source) for w in self.writes) > self._max_bytes
        ):
            self.writes.pop(self._random.randrange(len(self.writes)))
            self._size = len(self.writes)


class FieldCheck:
    """Compares rows in the columns that the mapping's conflict rule keeps equal."""

    def __init__(self, mapping: TableMapping, keys: TargetKeys) -> None:
        self._mapping = mapping
        self._keys = keys
        self._compared = [c for c in keys.columns if self._is_compared(c)]

    def run(
        self,
        fresh: Callable[[], Sequence[Write]],
        ask: Callable[[Callable[[Connection], list[tuple[Any, ...]]]], list[tuple[Any, ...]]],
    ) -> dict[str, Any]:
        """`fresh` maps the sample's current source rows; `ask` runs a query in the target."""
        found = self._once(fresh(), ask)
        if found["different"]:
            time.sleep(_PAUSE)
            found = self._once(fresh(), ask)
        return found

    def _once(self, writes: Sequence[Write], ask: Callable[..., Any]) -> dict[str, Any]:
        rows = ask(lambda connection: self._compare(connection, writes)) if writes else []
        names = [column.name for column in self._compared]
        wrong = {name for _, *row in rows for name, it in zip(names, row, strict=True) if it}
        return {
            "compared": len(rows),
            "different": sum(not there or any(differs) for there, *differs in rows),
            "missing": sum(not there for there, *_ in rows),
            "columns": sorted(wrong),
        }

    def _compare(self, connection: Connection, writes: Sequence[Write]) -> list[tuple[Any, ...]]:
        """Return the differences of all rows; rows that the target's types refuse are left out."""
        try:
            with connection.transaction():
                return self._differences(connection, writes)
        except psycopg.Error as fault:
            if not isinstance(classify_error(fault), EventError):
                raise
            if len(writes) == 1:
                return []
        half = len(writes) // 2
        return self._compare(connection, writes[:half]) + self._compare(connection, writes[half:])

    def _differences(
        self, connection: Connection, writes: Sequence[Write]
    ) -> list[tuple[Any, ...]]:
        """Return for each row whether it exists, and which of its columns differ."""
        columns = self._keys.columns
        arrays = [
            [None if w.values[at] is None else str(w.values[at]) for w in writes]
            for at, _ in enumerate(columns)
        ]
        given = ", ".join("%s::text[]" for _ in columns)
        names = ", ".join(quoted(column.name) for column in columns)
        same = " AND ".join(f"t.{quoted(n)} = {self._new(n)}" for n in self._keys.names)
        there = f"t.{quoted(self._keys.names[0])} IS NOT NULL"
        differ = ", ".join([there, *map(self._differs, self._compared)])
        table = self._keys.table
        query = f"SELECT {differ} FROM unnest({given}) s({names}) LEFT JOIN {table} t ON {same}"
        return connection.execute(query.encode(), arrays).fetchall()

    def _differs(self, column: TargetColumn) -> str:
        """Return SQL for whether the stored value differs from what the mapping would write."""
        there, old = f"t.{quoted(self._keys.names[0])} IS NOT NULL", f"t.{quoted(column.name)}"
        new = stored(self._new(column.name), column.pg)
        conditions = [there, differ([as_base(old, column.pg)], [new])]
        version = self._mapping.conflict.version
        if version is not None and self._mapping.derived is None:
            latest = stored(self._new(version), self._type(version))
            conditions.append(f"coalesce(t.{quoted(version)} <= {latest}, true)")
        if self._mapping.conflict.strategy is Strategy.MERGE_CHANGED:
            conditions.append(f"{new} IS NOT NULL")
        return f"({' AND '.join(conditions)})"

    def _new(self, name: str) -> str:
        return self._type(name).read(f"s.{quoted(name)}")

    def _type(self, name: str) -> PgType:
        return next(column.pg for column in self._keys.columns if column.name == name)

    def _is_compared(self, column: TargetColumn) -> bool:
        """Return False for a column that is written only once: it may hold an older value."""
        once = self._mapping.conflict.strategy is Strategy.INSERT_ONCE
        is_key = column.name in self._keys.names and column.pg.is_exact
        return not (once or column.column.insert_only or is_key)
