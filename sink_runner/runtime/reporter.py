"""Reports committed batches: counts, metrics, log lines, and the plugins' hooks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

from ..model.batch import Batch
from ..model.dead_letter import fails
from ..model.message import Message
from ..model.outcome import Outcome, count_outcomes
from ..model.partition import Advance, Claim
from ..model.status import MappingHealth
from ..pipeline import Pipeline
from ..writer.dead_letters import report


class BatchTraces(Protocol):
    """Makes the spans of a mapping's batches."""

    def begin(self, records: Mapping[int, Sequence[Message]]) -> object: ...

    def forget(self) -> None: ...

    def end(
        self,
        batch: Batch,
        started: float,
        counts: Mapping[str, int],
        fault: BaseException | None = None,
    ) -> None: ...


class Observers(NamedTuple):
    """Who else learns what a worker does."""

    lineage: AbstractContextManager[object] = nullcontext()
    """Entered for as long as the worker works."""
    traces: BatchTraces | None = None
    sample: Callable[[Batch], object] = lambda _batch: None
    """Takes a sample of each committed batch; must not wait."""


NO_OBSERVERS = Observers()


class Reporter:
    """Reports the outcomes of one mapping's events."""

    def __init__(
        self,
        pipeline: Pipeline,
        health: MappingHealth,
        log: Any,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._pipeline = pipeline
        self._health = health
        self._log = log
        self.lineage, self._traces, self._sample = observers
        self._write_started = 0.0
        self._polled_at = 0.0
        self._fetch_seconds: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        """The number of events by outcome, and of deferred events that were replayed."""

    # -- in the thread that reads ----------------------------------------------------------------

    def claimed(self, claims: Mapping[int, Claim]) -> None:
        """Report claimed partitions, which are applied from their next offset on."""
        self._health.lag.restart({at: claim.next_offset or 0 for at, claim in claims.items()})

    def fetched(self, records: Collection[int], started: float) -> None:
        """Note a poll if it returned records; it `started` at this monotonic time."""
        if records:
            self._polled_at = self._health.now()
            self._fetch_seconds = {"fetch": time.monotonic() - started}

    def submitted(
        self, batch: Batch, records: Mapping[int, Sequence[Message]], decoded: int
    ) -> None:
        """Report a batch that is about to be written; `decoded` is how many records are decoded."""
        batch.seconds |= self._fetch_seconds
        self._fetch_seconds = {}  # counted once, for the first batch of the poll
        batch.taken, batch.read = self._polled_at, sum(map(len, records.values()))
        batch.counts[Outcome.TOMBSTONE] += batch.read - decoded
        if self._traces:
            batch.trace = self._traces.begin(records)
        committed = batch.oldest.committed_ms / 1000 if batch.oldest else None
        ends = {partition: part[-1].offset + 1 for partition, part in records.items()}
        self._health.lag.note_read(ends, committed)

    # -- in the thread that writes ---------------------------------------------------------------

    @contextmanager
    def writing(self, batch: Batch) -> Iterator[None]:
        """Note when the write of a batch begins, and report the exception that ends it."""
        self._write_started = time.monotonic()
        try:
            yield
        except Exception as fault:
            if self._traces:
                self._traces.end(batch, self._write_started, {}, fault)
            raise

    def committed(self, batch: Batch, steps: Sequence[Advance], *, deferred: int) -> None:
        """Report a committed batch."""
        seconds = time.monotonic() - self._write_started
        if deferred:
            self._log.info("events_deferred", count=deferred)
        counts = count_outcomes(batch)
        self.counts.update(counts)
        ends = {step.partition: step.next_offset for step in steps}
        self._health.lag.note_applied({at: end for at, end in ends.items() if end is not None})
        self._health.committed(counts, seconds, batch.last_ms)
        batch.seconds["write"] = seconds - batch.seconds.get("commit", 0.0)
        self._health.time_steps(batch.seconds)
        self._health.time_events(batch)
        self._report(batch)
        self._sample(batch)
        if self._traces:
            self._traces.end(batch, self._write_started, counts)

    def retried(self, batch: Batch) -> None:
        """Report a retry of deferred events."""
        if self._traces:
            self._traces.forget()
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
