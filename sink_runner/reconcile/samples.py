"""Compare a sample of the rows that events have just written, beside the writing.

The writing threads offer keys to a bounded queue, which drops them when it is full.  One thread
reads the source rows of the keys again, and compares them as a reconciliation does; a row that
still differs after a marker is stored as a finding.  Nothing is repaired.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from ..batch.keys import Key
from ..batch.plan import BatchPipeline
from ..batch.snapshot import take_snapshot
from ..config import Config
from ..error_text import describe
from ..loading import discovery
from ..model.batch import Batch
from ..model.changes import Write
from ..model.clock import clock
from .options import Options
from .parts import Parts
from .report import Report
from .session import MakeMarker, make_marker, open_parts

SECONDS = 60.0
"""Interval of the comparisons."""
MODE = "sample of written rows"
_MAX_KEYS = 1_000


@dataclass(slots=True)
class Offered:
    """The keys of one mapping that are to be compared, and how many more were dropped."""

    keys: set[Key]
    dropped: int = 0


class SampleQueue:
    """Holds the keys of a sample of committed rows, up to a number for each mapping."""

    def __init__(self, percent: float, max_keys: int = _MAX_KEYS) -> None:
        self._share = percent / 100
        self._max_keys = max_keys
        self._offered: dict[str, Offered] = {}
        self._lock = threading.Lock()

    def offer(self, mapping: str, batch: Batch) -> None:
        """Add keys of a committed batch; never waits for a comparison."""
        failed = {id(dead_letter.message) for dead_letter in batch.dead_letters}
        keys = [
            tuple(map(str, change.key))
            for change in batch.changes
            if isinstance(change, Write)
            and random.random() < self._share  # noqa: S311 - nothing secret
            and id(change.source) not in failed
        ]
        with self._lock:
            offered = self._offered.setdefault(mapping, Offered(set()))
            room = self._max_keys - len(offered.keys)
            offered.keys.update(keys[:room])
            offered.dropped += len(keys[room:])

    def take(self) -> Mapping[str, Offered]:
        """Remove and return what was offered since the last call."""
        with self._lock:
            taken, self._offered = self._offered, {}
        return taken


class SampleComparison:
    """Compares the offered rows of all mappings, one mapping after another."""

    def __init__(
        self,
        queue: SampleQueue,
        plugins: Sequence[discovery.Plugin],
        config: Config,
        *,
        stop: threading.Event,
        marker: MakeMarker = make_marker,
    ) -> None:
        self._queue = queue
        self._plugins = plugins
        self._config = config
        self._stop = stop
        self._make_marker = marker

    def compare(self) -> None:
        """Compare what was offered; an error ends only the comparison of its mapping."""
        offered = self._queue.take()
        for plugin in self._plugins:
            sample = offered.get(plugin.name)
            if sample is None or not sample.keys or self._stop.is_set():
                continue
            log = structlog.get_logger().bind(mapping=plugin.name)
            try:
                report = self._compare(plugin, sample.keys)
            except Exception as fault:  # noqa: BLE001 - a comparison must not end the runner
                log.warning("sample_comparison_failed", reason=describe(fault))
                continue
            counts = {"compared": report.counts["read"], "different": report.differences}
            log.info("sample_compared", **counts, dropped=sample.dropped)

    def _compare(self, plugin: discovery.Plugin, keys: Collection[Key]) -> Report:
        report = Report(mapping=plugin.name, mode=MODE)
        with open_parts(
            plugin,
            self._plugins,
            self._config,
            Options(),
            stop=self._stop,
            make_marker=self._make_marker,
            is_alone=False,
        ) as parts:
            if keys := _source_keys(parts.batch, keys):
                _compare_rows(parts, keys, report)
        return report


def _source_keys(batch: BatchPipeline, keys: Collection[Key]) -> list[Key]:
    """Return the source's keys; none if the target's key is not that of the source."""
    columns, key = batch.deletions.keys.source_columns or (), batch.source.format.key
    if not key or {*columns} != {*key}:
        return []
    places = [columns.index(name) for name in key]
    return [tuple(one[place] for place in places) for one in keys]


def _compare_rows(parts: Parts, keys: Sequence[Key], report: Report) -> None:
    batch, reader = parts.batch, parts.reader
    began = take_snapshot(reader, settle_seconds=0, earlier=lambda _: (), stopped=batch.stop.is_set)
    reader.execute("COMMIT")
    head = batch.source.format.head(0, clock())
    lines = batch.source.read_keys(reader, keys)
    messages = [batch.source.format.message(head, line, n) for n, line in enumerate(lines)]
    changes = batch.pipeline.prepare(messages).changes
    writes = [change for change in changes if isinstance(change, Write)]
    settled = parts.settlement.settle(parts.comparison.compare(writes))
    report.counts.update(read=len(messages), pending=len(settled.pending))
    report.add_found(settled.found)
    if report.differences:
        parts.store.record(report, batch.source.format.number, began, settled.found)
