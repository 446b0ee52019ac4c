"""Follow a TRUNCATE of the source table: empty the target and ignore older events after it.

Kafka does not order events of different partitions, so events from before the TRUNCATE may still
come from other partitions.  What is older than the last TRUNCATE is stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from ..errors import FatalError
from ..model.changes import Change, Position
from ..plugin import OnTruncate, TableMapping
from .resolve import RowWriter

Connection = psycopg.Connection[Any]

_FLOOR = "SELECT position, ordinal FROM sink.truncation WHERE mapping = %s"
_REMEMBER = """
INSERT INTO sink.truncation AS t (mapping, position, ordinal) VALUES (%s, %s, %s)
ON CONFLICT (mapping) DO UPDATE SET position = excluded.position, ordinal = excluded.ordinal
WHERE (t.position, t.ordinal) < (excluded.position, excluded.ordinal)
"""
_PARTITIONS = "SELECT count(DISTINCT partition) FROM sink.partition_offset WHERE mapping = %s"


class Truncation:
    """Empties the target of a mapping with `OnTruncate.EMPTY`."""

    def __init__(self, mapping: str, declared: TableMapping, writer: RowWriter) -> None:
        self._mapping = mapping
        self._declared = declared
        self._writer = writer
        self._floor: Position | None = None

    def load(self, connection: Connection) -> None:
        """Read the position of the last TRUNCATE, which another process may have applied."""
        found = connection.execute(_FLOOR, (self._mapping,)).fetchone()
        self._floor = None if found is None else (found[0], found[1])

    def empty(self, connection: Connection, position: Position, now: datetime) -> int:
        """Empty the target in the caller's transaction; return how many rows were deleted.

        Rows that are newer than the TRUNCATE stay, and so do those of callbacks.
        """
        if not self._writer.keeps_positions and self._partitions(connection) > 1:
            raise FatalError(
                f"{self._declared.source} was truncated, and its topic has several partitions: the "
                f"runner does not know which rows of {self._declared.target} are newer. Set "
                "on_truncate=OnTruncate.KEEP, start the runner again, and run `sink-runner batch "
                f"{self._mapping} --full`, which removes the rows that the table does not have"
            )
        emptied = self._writer.truncate(connection, position, now)
        connection.execute(_REMEMBER, (self._mapping, *position))
        return emptied

    def newer(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return the changes that are newer than the last TRUNCATE, or have no position."""
        floor = self._floor
        if floor is None:
            return changes
        return [one for one in changes if one.position is None or one.position > floor]

    def _partitions(self, connection: Connection) -> int:
        found = connection.execute(_PARTITIONS, (self._mapping,)).fetchone()
        assert found is not None
        return int(found[0])


def truncation(mapping: str, declared: TableMapping, writer: RowWriter) -> Truncation | None:
    """Return the `Truncation` of a mapping; None if it never empties its target."""
    if declared.on_truncate is not OnTruncate.EMPTY:
        return None
    return Truncation(mapping, declared, writer)
