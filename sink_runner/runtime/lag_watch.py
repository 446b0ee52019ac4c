"""Observe the lag of every mapping, also of those whose worker is paused or stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Protocol, TypeVar

import structlog

from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..error_text import describe
from ..kafka.connection import KafkaConnection
from ..kafka.feed import Bounds
from ..kafka.log_ends import LogEnds
from ..model.status import Health
from ..plugin import TableMapping
from ..postgres.migrations import has_tables
from ..postgres.session import connect
from .periodic import Outages, repeating

T = TypeVar("T")

SECONDS = 5.0
_STATEMENT_SECONDS = 5.0
# A topic that was created again has new rows here; the old topic's rows no longer change.
_APPLIED = """
SELECT DISTINCT ON (mapping, topic, partition) mapping, topic, partition, next_offset
FROM sink.partition_offset WHERE mapping = ANY (%s)
ORDER BY mapping, topic, partition, updated_at DESC
"""
Applied = Mapping[tuple[str, str], Mapping[int, int | None]]
"""The next offset to apply of each partition, by mapping and topic."""


class Ends(Protocol):
    """Reads the first and the end offsets of topics."""

    def bounds(self, topics: Collection[str]) -> Mapping[str, Mapping[int, Bounds]]: ...

    def close(self) -> None: ...


class LagWatch:
    """Compares the ends of the topics' logs with what the target databases have applied."""

    def __init__(
        self, mappings: Mapping[str, TableMapping], targets: Mapping[str, Dsn], health: Health
    ) -> None:
        """`targets` are the databases that the mappings write to, by name."""
        self._topics = {name: one.source_table.topic for name, one in mappings.items()}
        self._by_database: dict[str, list[str]] = defaultdict(list)
        for name, mapping in mappings.items():
            self._by_database[mapping.target_table.database].append(name)
        self._targets = targets
        self._health = health
        self._log = structlog.get_logger()
        self._outages = Outages()

    def observe(self, ends: Ends) -> None:
        """Read offsets once; log a server that does not answer, and keep its last values."""
        bounds = self._read("kafka", lambda: ends.bounds(sorted({*self._topics.values()}))) or {}
        for database, names in self._by_database.items():
            read = partial(_read_applied, self._targets[database], names)
            applied = self._read(database, read) or {}
            for name in names:
                self._note(name, bounds.get(self._topics[name], {}), applied)

    def _read(self, server: str, read: Callable[[], T]) -> T | None:
        """Return what is read; None if that fails, which is logged."""
        reason, found = "", None
        try:
            found = read()
        except Exception as fault:  # noqa: BLE001 - workers report their own errors
            reason = describe(fault)
        if self._outages.begins(server, reason):
            self._log.warning("lag_read_failed", server=server, reason=reason)
        return found

    def _note(self, name: str, bounds: Mapping[int, Bounds], applied: Applied) -> None:
        lag = self._health.lag(name)
        known = applied.get((name, self._topics[name]), {})
        first = {partition: one.first for partition, one in bounds.items()}
        lag.note_applied(first | {at: offset for at, offset in known.items() if offset is not None})
        lag.note_ends({partition: one.end for partition, one in bounds.items()})


def _read_applied(dsn: Dsn, mappings: Collection[str]) -> Applied:
    found: dict[tuple[str, str], dict[int, int | None]] = defaultdict(dict)
    with connect(dsn, "sink-runner lag", _STATEMENT_SECONDS) as connection:
        if has_tables(connection):
            for mapping, topic, partition, offset in connection.execute(
                _APPLIED, (list(mappings),)
            ):
                found[mapping, topic][partition] = offset
    return found


@contextmanager
def watching_lag(
    config: Config, mappings: Mapping[str, TableMapping], health: Health
) -> Iterator[None]:
    """Observe the lag of these mappings during the block, in a thread."""
    names = {mapping.target_table.database for mapping in mappings.values()}
    targets = {name: find_database(config.databases, name).dsn for name in names}
    watch = LagWatch(mappings, targets, health)
    ends = LogEnds(KafkaConnection.of(config.kafka))
    work = partial(watch.observe, ends)
    with repeating("lag", work, SECONDS, ends.close) if mappings else nullcontext():
        yield
