"""Wait until a mapping has applied every change that the source's log has now.

The marker is a position in the source's log. First Debezium has to confirm it to the replication
slot, which it does only after Kafka has stored all events before it. Then the target's offsets have
to reach the topic's end as of that moment. The marker is the log's insert position and not its
flush position: with synchronous_commit = off, a row may be read before its commit is flushed, and
Debezium sees only what is flushed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..config import Config
from ..errors import SinkError
from ..kafka.connection import KafkaConnection
from ..kafka.feed import Bounds
from ..kafka.offset_queries import topic_bounds
from ..plugin import TableMapping
from ..postgres.session import Connection
from ..writer.stored_offsets import read_progress
from .suspect import Suspect

_INSERTED = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
# Without an active slot nothing is captured. Inactive slots may be another program's: ignore them.
_CONFIRMED = """
SELECT pg_wal_lsn_diff(min(confirmed_flush_lsn), '0/0')::int8 FROM pg_replication_slots
WHERE slot_type = 'logical' AND active AND database = current_database()
"""
_CAPTURE_SECONDS = 30.0
"""Debezium confirms its position after the next heartbeat."""
_STALLED_SECONDS = 15.0
POLL_SECONDS = 0.2


class Marker(Protocol):
    """Decides whether the target has all changes of the source."""

    def wait(self) -> str | None:
        """Wait until all changes so far are applied; return the reason if they are not."""

    def unread(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those whose source row waits for the next batch run."""


class LogMarker:
    """Waits for the events of one mapping."""

    def __init__(
        self,
        name: str,
        mapping: TableMapping,
        *,
        source: Connection,
        target: Connection,
        bounds: Callable[[], Mapping[int, Bounds]],
        stop: threading.Event,
    ) -> None:
        """`bounds` returns the topic's first and end offset in Kafka, by partition."""
        self._name = name
        self._mapping = mapping
        self._source = source
        self._target = target
        self._bounds = bounds
        self._stop = stop

    @classmethod
    def of_config(
        cls,
        name: str,
        mapping: TableMapping,
        config: Config,
        sessions: tuple[Connection, Connection],
        stop: threading.Event,
    ) -> LogMarker:
        """`sessions` are with the source and with the target."""
        kafka, topic = KafkaConnection.of(config.kafka), mapping.source_table.topic
        source, target = sessions
        return cls(
            name,
            mapping,
            source=source,
            target=target,
            bounds=lambda: topic_bounds(kafka, topic),
            stop=stop,
        )

    def wait(self) -> str | None:
        if reason := self._wait_for_capture(read_log_end(self._source)):
            return reason
        try:
            ends = self.read_ends()
        except SinkError:
            return "Kafka does not answer, so it is not known which events are still to be applied"
        return self._wait_for_offsets(ends)

    def unread(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return none: all events up to the marker are applied."""
        del suspects
        return []

    # -- one look ------------------------------------------------------------------------------

    def read_confirmed(self) -> int | None:
        """Return up to where Debezium has stored the log in Kafka; None if it does not capture."""
        return _fetch_number(self._source, _CONFIRMED)

    def read_ends(self) -> dict[int, int]:
        """Return where the topic's partitions end.  Raises AccessError and RetriableError."""
        return {partition: bound.end for partition, bound in self._bounds().items()}

    def count_unapplied(self, ends: Mapping[int, int]) -> int:
        """Return how many offsets before these ends are not applied."""
        return _count_unapplied(ends, self._offsets())

    # -- waiting -------------------------------------------------------------------------------

    def _wait_for_capture(self, marker: int) -> str | None:
        database = self._mapping.source_table.database
        deadline = time.monotonic() + _CAPTURE_SECONDS
        while True:
            confirmed = self.read_confirmed()
            if confirmed is None:
                return (
                    f"no replication slot of database {database!r} is in use: Debezium does not "
                    "capture it. Start Debezium"
                )
            if confirmed >= marker:
                return None
            if self._is_over(deadline):
                return (
                    f"Debezium has not confirmed the log of database {database!r} within "
                    f"{_CAPTURE_SECONDS:.0f} s: see its log, and its heartbeat"
                )

    def _wait_for_offsets(self, ends: Mapping[int, int]) -> str | None:
        """Wait for the offsets to reach these ends, as long as they advance."""
        last, deadline = dict[int, int](), 0.0
        while True:
            offsets = self._offsets()
            unapplied = _count_unapplied(ends, offsets)
            if not unapplied:
                return None
            if offsets != last:
                last, deadline = offsets, time.monotonic() + _STALLED_SECONDS
            if self._is_over(deadline):
                return (
                    f"{unapplied:,} events of mapping {self._name!r} are not applied, and none was "
                    f"within {_STALLED_SECONDS:.0f} s: no runner runs, or the mapping is paused. "
                    "Start `sink-runner run`, or see its log"
                )

    def _offsets(self) -> dict[int, int]:
        found = read_progress(self._target, self._name, self._mapping.source_table.topic)
        return {partition: one.next_offset for partition, one in found.items()}

    def _is_over(self, deadline: float) -> bool:
        """Pause; return whether the wait has to end: after the deadline, or on `stop`."""
        return self._stop.wait(POLL_SECONDS) or time.monotonic() > deadline


def read_log_end(source: Connection) -> int:
    """Return the present end of the source's log."""
    return _fetch_number(source, _INSERTED) or 0


def _count_unapplied(ends: Mapping[int, int], offsets: Mapping[int, int]) -> int:
    return sum(max(0, end - offsets.get(partition, 0)) for partition, end in ends.items())


def _fetch_number(connection: Connection, query: str) -> int | None:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None
