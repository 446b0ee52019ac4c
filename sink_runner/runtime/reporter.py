"""Reports committed batches: counts, metrics, log lines, and the plugins' hooks."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ..model.batch import Batch
from ..model.dead_letter import fails
from ..model.outcome import count_outcomes
from ..model.status import MappingHealth
from ..pipeline import Pipeline
from ..writer.dead_letters import report


class Reporter:
    """Reports what became of the events of one mapping."""

    def __init__(self, pipeline: Pipeline, health: MappingHealth, log: Any) -> None:
        self._pipeline = pipeline
        self._health = health
        self._log = log
        self.counts: Counter[str] = Counter()
        """How many events had which outcome, and how many deferred ones were replayed."""

    def committed(self, batch: Batch, *, read: int, deferred: int, started: float) -> None:
        """Report a batch of `read` events whose write `started` at that monotonic time."""
        if deferred:
            self._log.info("events_deferred", count=deferred)
        counts = count_outcomes(batch, read)
        self.counts.update(counts)
        self._health.committed(counts, time.monotonic() - started, batch.last_ms)
        self._report(batch)

    def retried(self, batch: Batch) -> None:
        """Report a retry of deferred events."""
        settled = {"replayed": batch.counts["replayed"], "dead": len(batch.dead_letters)}
        if replayed := settled["replayed"]:
            self._log.info("events_replayed", count=replayed)
        self.counts.update(+Counter(settled))
        self._health.settled(settled)
        self._report(batch)

    def _report(self, batch: Batch) -> None:
        """Report dead letters: new ones, and older ones that were superseded."""
        if superseded := batch.superseded:
            self._log.info("dead_letters_superseded", count=superseded)
        if batch.superseding:
            self._health.settled({"superseded": batch.superseding.stored})
        failed = [dead_letter for dead_letter in batch.dead_letters if fails(dead_letter)]
        hooks = self._pipeline.compiled.hooks
        report(failed, self._log, hooks, self._pipeline.event_of)
        hooks.committed(len(batch.changes))
