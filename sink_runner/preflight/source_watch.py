"""Detect while a mapping runs that its source differs from what was checked at the start.

The replica identity of a table decides what an event has of the before image. Where it lacks a
column of the key, Debezium writes 0 or an empty text in its place, and the deletion of any row
looks like that of row 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import psycopg

from ..config.dsn import Dsn
from ..errors import ConfigError, RetriableError
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import Op, TableMapping
from ..postgres.error_classes import classify_error
from ..postgres.session import Connection, connect

SECONDS = 600.0
"""Interval of the checks of a running mapping; they take about half a second."""
_IDENTITY = """
SELECT c.oid::int8,
       array_agg(concat_ws(' ', part.oid, part.relreplident, i.indexrelid, i.indisreplident)
                 ORDER BY part.oid, i.indexrelid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class part ON part.oid = c.oid
  OR part.oid IN (SELECT relid FROM pg_partition_tree(c.oid))
LEFT JOIN pg_index i ON i.indrelid = part.oid AND (i.indisprimary OR i.indisreplident)
WHERE n.nspname = %s AND c.relname = %s GROUP BY c.oid
"""


class Watch(Protocol):
    """Detects while a mapping runs that its source has changed."""

    def observe(self, events: Sequence[tuple[Message, Decoded]]) -> None:
        """Raise an error if these events must not be applied."""

    def maintain(self) -> None:
        """Do what is due, between two batches."""

    def close(self) -> None: ...


class SourceWatch:
    """Repeats the checks of a mapping's source regularly, and when its identity has changed."""

    def __init__(
        self,
        name: str,
        mapping: TableMapping,
        *,
        source: Dsn,
        check: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`source` is the reader's connection string.

        `check` raises ConfigError for what prevents a start, RetriableError where a database
        does not answer.
        """
        self._name = name
        self._table = mapping.source_table
        self._needs_before = {Op.DELETE, Op.UPDATE} if mapping.needs_before_image else {Op.DELETE}
        self._source = source
        self._check = check
        self._connection: Connection | None = None
        self._oid: int | None = None
        self._checked: Any = None
        """The identity at the last check without a fault."""
        self._clock = clock
        self._due = clock() + SECONDS

    def start(self) -> None:
        """Read the identity of the source before its first check."""
        self._checked = self._identity()
        self.close()

    def observe(self, events: Iterable[tuple[Message, Decoded]]) -> None:
        """Check the source if it was altered and one of the events needs a before image.

        Raises ConfigError where the events lack that image now, RetriableError where the source
        does not answer.
        """
        if all(event.op not in self._needs_before for _, event in events):
            return
        identity = self._identity()
        if identity == self._checked:
            return
        try:
            self._check()
        except ConfigError as fault:
            raise ConfigError(
                f"{fault}; then run `sink-runner batch {self._name} --full`, since the changes "
                "captured in between do not identify their rows"
            ) from fault
        self._checked = identity

    def maintain(self) -> None:
        """Check if it is due; a database that does not answer does not stop the mapping."""
        self.close()  # deletes may be rare: no session is kept for them
        if self._clock() < self._due:
            return
        self._due = self._clock() + SECONDS
        with suppress(RetriableError):
            self._identity()
            self._check()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _identity(self) -> Any:
        """Return the table's identity; ConfigError where another table has its name."""
        try:
            if self._connection is None:
                self._connection = connect(self._source, "sink-runner source")
            names = (self._table.schema, self._table.name)
            oid, identity = self._connection.execute(_IDENTITY, names).fetchone() or (None, None)
        except psycopg.Error as fault:
            self.close()
            raise classify_error(fault) from fault
        self._oid = self._oid or oid
        if oid is not None and oid != self._oid:
            raise ConfigError(
                f"{self._table} was dropped and created again, or another table has its name now: "
                "no event says which rows were deleted; run "
                f"`sink-runner batch {self._name} --full`. The mapping continues with the new table"
            )
        return identity
