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
from ..plugin import TableMapping
from ..postgres.catalog import quoted
from ..postgres.error_classes import classify_error
from ..writer.committer import Connection
from .keys import TargetKeys
from .row_differences import RowDifferences

SAMPLE = 100  # rows
_RECHECK_SECONDS = 1.0  # time for the event of a recent change to be applied


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
        self._keys = keys
        self._sql = RowDifferences(mapping, keys)

    def run(
        self,
        fresh: Callable[[], Sequence[Write]],
        ask: Callable[[Callable[[Connection], list[tuple[Any, ...]]]], list[tuple[Any, ...]]],
    ) -> dict[str, Any]:
        """Return counts of the sample's rows; a difference counts if a second check finds it, too.

        `fresh` maps the sample's current source rows; `ask` runs a query in the target.
        """
        found = self._compare_once(fresh(), ask)
        if found["different"]:
            time.sleep(_RECHECK_SECONDS)
            found = self._compare_once(fresh(), ask)
        return found

    def _compare_once(self, writes: Sequence[Write], ask: Callable[..., Any]) -> dict[str, Any]:
        rows = ask(lambda connection: self._compare(connection, writes)) if writes else []
        names = [column.name for column in self._sql.compared]
        wrong = {name for _, *row in rows for name, bad in zip(names, row, strict=True) if bad}
        return {
            "compared": len(rows),
            "different": sum(not exists or any(differs) for exists, *differs in rows),
            "missing": sum(not exists for exists, *_ in rows),
            "columns": sorted(wrong),
        }

    def _compare(self, connection: Connection, writes: Sequence[Write]) -> list[tuple[Any, ...]]:
        """Return the differences of all rows, without rows that the target's types refuse."""
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
        parameters = ", ".join("%s::text[]" for _ in columns)
        names = ", ".join(quoted(column.name) for column in columns)
        sql = self._sql
        differs = [f"({sql.differs(c)} AND NOT {sql.is_superseded})" for c in sql.compared]
        query = (
            f"SELECT {', '.join([sql.exists, *differs])} FROM unnest({parameters}) s({names}) "
            f"LEFT JOIN {self._keys.table} t ON {sql.same_key}"
        )
        return connection.execute(query.encode(), arrays).fetchall()
