"""Notice under a running mapping that its source is no longer what was checked at the start.

What an event carries of the row before its change follows from the table's replica identity.
Where that lacks a column of the key, Debezium writes 0 or an empty text in its place: a deletion of
any row then looks like one of row 0.
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
"""How often a running mapping repeats its checks, which take about half a second."""
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


class Operation(Protocol):
    """An event, as far as its kind is concerned."""

    @property
    def op(self) -> str: ...


class Watch(Protocol):
    """What notices, under a running mapping, that its source has changed."""

    def observe(self, events: Sequence[tuple[Message, Decoded]]) -> None:
        """Raise an error if these events must not be applied."""

    def maintain(self) -> None:
        """Do what is due now and then, between two batches."""

    def close(self) -> None: ...


class SourceWatch:
    """Repeats a mapping's checks of its source: now and then, and once its identity has changed."""

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

        `check` raises ConfigError for what forbids a start, RetriableError where a database does
        not answer.
        """
        self._name = name
        self._table = mapping.source_table
        self._needs_before = {Op.DELETE, Op.UPDATE} if mapping.needs_before_image else {Op.DELETE}
        self._source = source
        self._check = check
        self._connection: Connection | None = None
        self._oid: int | None = None
        self._checked: Any = None
        """The identity that a check has found good."""
        self._clock = clock
        self._due = clock() + SECONDS

    def start(self) -> None:
        """Remember the source as it is before its first check."""
        self._checked = self._identity()
        self.close()

    def observe(self, events: Iterable[tuple[object, Operation]]) -> None:
        """Check the source if it is altered and an event depends on the row before its change.

        Raises ConfigError where the source does not carry that row any more, RetriableError where
        it can't be asked.
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
                f"{fault}; then run `sink-runner batch {self._name} --full`, since changes that "
                "were captured meanwhile do not tell which row they are of"
            ) from fault
        self._checked = identity

    def maintain(self) -> None:
        """Check if it is due; a database that is away is no reason to stop.  Raises ConfigError."""
        self.close()  # a delete now and then is no reason to hold a session
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
        """Ask for the table's identity.  Raises ConfigError where it is another table."""
        try:
            if self._connection is None:
                self._connection = connect(self._source, "sink-runner source")
            asked = (self._table.schema, self._table.name)
            oid, identity = self._connection.execute(_IDENTITY, asked).fetchone() or (None, None)
        except psycopg.Error as fault:
            self.close()
            raise classify_error(fault) from fault
        self._oid = self._oid or oid
        if oid is not None and oid != self._oid:
            raise ConfigError(
                f"{self._table} was dropped and created again, or another table has its name now: "
                "no event tells which rows are gone; run "
                f"`sink-runner batch {self._name} --full`. The mapping goes on with the new table"
            )
        return identity
