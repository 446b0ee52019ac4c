"""The state of a running process: metrics for Prometheus and the state of each mapping.

A run has one `Health`.  Any thread may write to it; a label never holds a row's value.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from ..errors import class_of
from .batch import Batch
from .gauge_table import GaugeTable
from .lag import Lag
from .message import NO_TIMESTAMP
from .outcome import Outcome

M = TypeVar("M", bound=MetricWrapperBase)

_TIME_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_STAGES = ("capture", "queue", "apply", "total")
_EVENT_BUCKETS = (1, 5, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class State(StrEnum):
    """The state of a mapping; the process is ready if all of them are RUNNING."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    QUARANTINED = "quarantined"
    """It cannot start because of the configuration, a table, a topic or its plugin."""


@dataclass(frozen=True, slots=True)
class MappingStatus:
    """The state of a mapping, since when (Unix time) and why."""

    state: State
    since: float
    reason: str = ""
    error: type[BaseException] | None = None
    """The class of the error that is the reason."""
    next_try: float | None = None
    """When the mapping tries again, if it does: Unix time."""

    def as_dict(self) -> dict[str, str]:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        found = {"state": self.state.value, "since": since}
        return {**found, "reason": self.reason} if self.reason else found


class Progress(NamedTuple):
    """What a mapping last wrote: Unix times; None if this process has written nothing."""

    written_at: float | None = None
    committed_at: float | None = None
    """When the source committed the last event that was applied."""


class Health:
    """The metrics and the states of one run."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self.clock = clock
        self._metrics: dict[str, MetricWrapperBase] = {}
        self._tables: dict[str, GaugeTable] = {}
        self._statuses: dict[str, MappingStatus] = {}
        self._lags: dict[str, Lag] = {}
        self._progress: dict[str, Progress] = {}
        self._lock = threading.Lock()

    # -- metrics -----------------------------------------------------------------------------

    def gauge(self, name: str, meaning: str, labels: Collection[str] = ()) -> Gauge:
        """Return the gauge of this name, which is created once."""
        return self._metric(Gauge, name, meaning, labels)

    def counter(self, name: str, meaning: str, labels: Collection[str] = ()) -> Counter:
        """Return the counter of this name, which is created once."""
        return self._metric(Counter, name, meaning, labels)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Collection[str] = (),
        buckets: Sequence[float] = _TIME_BUCKETS,
    ) -> Histogram:
        """Return the histogram of this name, in seconds by default, which is created once."""
        return self._metric(Histogram, name, meaning, labels, buckets=buckets)

    def gauge_table(self, name: str, meaning: str, labels: Collection[str]) -> GaugeTable:
        """Return the gauge of this name, whose series are reported as a whole."""
        with self._lock:
            known = self._tables.get(name)
            if known is None:
                known = self._tables[name] = GaugeTable(name, meaning, labels)
                self.registry.register(known)
            return known

    def _metric(
        self, kind: type[M], name: str, meaning: str, labels: Collection[str], **options: Any
    ) -> M:
        with self._lock:
            known = self._metrics.get(name)
            if known is None:
                known = kind(name, meaning, tuple(labels), registry=self.registry, **options)
                self._metrics[name] = known
            assert isinstance(known, kind), f"{name} is another kind of metric"
            return known

    # -- mappings ----------------------------------------------------------------------------

    def mapping(self, name: str) -> MappingHealth:
        """Return the health of a mapping, which is STARTING until it is set."""
        return MappingHealth(self, name)

    def lag(self, name: str) -> Lag:
        """Return the lag of a mapping, which is created once."""
        with self._lock:
            return self._lags.setdefault(name, Lag(self.clock))

    def set_state(
        self,
        name: str,
        state: State,
        reason: str = "",
        *,
        fault: BaseException | None = None,
        seconds: float | None = None,
    ) -> None:
        """Set the state of a mapping; `since` changes only with the state.

        `fault` is the reason, if it is an error; the mapping tries again in `seconds`.
        """
        with self._lock:
            now, known = self.clock(), self._statuses.get(name)
            since = known.since if known and known.state is state else now
            error = None if fault is None else class_of(fault)
            next_try = None if seconds is None else now + seconds
            self._statuses[name] = MappingStatus(state, since, reason, error, next_try)

    def statuses(self) -> Mapping[str, MappingStatus]:
        with self._lock:
            return dict(self._statuses)

    def note_progress(self, name: str, committed_at: float | None) -> None:
        """A batch was written now, whose last event the source committed at this time."""
        with self._lock:
            known = self._progress.get(name, Progress())
            self._progress[name] = Progress(self.clock(), committed_at or known.committed_at)

    def progress(self, name: str) -> Progress:
        with self._lock:
            return self._progress.get(name, Progress())

    def ready(self) -> bool:
        """Return whether there is a mapping and all of them are RUNNING."""
        found = self.statuses().values()
        return bool(found) and all(one.state is State.RUNNING for one in found)


class MappingHealth:
    """The metrics and the state of one mapping."""

    def __init__(self, health: Health, name: str) -> None:
        self._health = health
        self.name = name
        mapping = ("mapping",)
        self._events = health.counter(
            "sink_events", "Events that were read, each by its one outcome.", ("mapping", "outcome")
        )
        self._settled = health.counter(
            "sink_dead_letters_settled",
            "Deferred events that were replayed or became dead letters, and dead letters and "
            "deferred events that a newer row superseded.",
            ("mapping", "outcome"),
        )
        self._batch = health.histogram(
            "sink_batch_seconds", "Time to write a batch, waits and retries included.", mapping
        ).labels(name)
        self._batch_events = health.histogram(
            "sink_batch_events", "Events of a batch.", mapping, buckets=_EVENT_BUCKETS
        ).labels(name)
        self._steps = health.histogram(
            "sink_batch_step_seconds",
            "Time of a batch by step: fetch (waiting for records included), decode, transform, "
            "write (retries included), commit.",
            ("mapping", "step"),
        )
        self._latency = health.histogram(
            "sink_event_latency_seconds",
            "Time of the oldest event of each batch by stage: capture (the source's commit to the "
            "Kafka record), queue (to the poll), apply (to our commit), total.",
            ("mapping", "stage"),
        )
        # A series that begins above 0 has no rate: failures of the first batch would be missed.
        for outcome in Outcome:
            self._events.labels(name, outcome)
        for stage in _STAGES:
            self._latency.labels(name, stage)
        self.lag = health.lag(name)
        health.gauge(
            "sink_lag_seconds",
            "Age of the oldest event in the topic that is not applied, by its commit, or since "
            "when it is known of; 0 if all are applied.",
            mapping,
        ).labels(name).set_function(lambda: self.lag.seconds)
        health.gauge(
            "sink_lag_events", "Offsets between what is applied and the topic's end.", mapping
        ).labels(name).set_function(lambda: self.lag.events)
        self._last_commit = health.gauge(
            "sink_applied_commit_timestamp_seconds",
            "When the source committed the last event that was applied.",
            mapping,
        ).labels(name)
        self._dead_letters = health.gauge(
            "sink_dead_letters", "Dead letters by status.", ("mapping", "status")
        )
        self._budget_left = health.gauge(
            "sink_failure_budget_left", "Dead letters until the mapping stops.", mapping
        )
        health.gauge("sink_paused", "1 while the mapping waits or is stopped.", mapping).labels(
            name
        ).set_function(self._is_paused)
        health.gauge(
            "sink_paused_since_timestamp_seconds", "Since when; 0 while it works.", mapping
        ).labels(name).set_function(self._paused_since)
        health.gauge(
            "sink_mapping_quarantined",
            "1 while the mapping cannot start because of its configuration or its plugin.",
            mapping,
        ).labels(name).set_function(self._is_quarantined)
        if name not in health.statuses():
            health.set_state(name, State.STARTING)

    def running(self) -> None:
        self._health.set_state(self.name, State.RUNNING)

    def is_running(self) -> bool:
        return self._status().state is State.RUNNING

    def resumed(self, reason: str) -> bool:
        """Set RUNNING if the mapping is paused for this reason; return whether it was."""
        was_paused = self._status().reason == reason
        if was_paused:
            self.running()
        return was_paused

    def paused(
        self, reason: str, fault: BaseException | None = None, seconds: float | None = None
    ) -> None:
        """Set PAUSED: a transient error has lasted for a while, or an operator wants it."""
        self._health.set_state(self.name, State.PAUSED, reason, fault=fault, seconds=seconds)

    def stopped(self, reason: str, fault: BaseException | None = None) -> None:
        """Set STOPPED: the mapping ended because of an error."""
        self._health.set_state(self.name, State.STOPPED, reason, fault=fault)

    def quarantined(
        self, reason: str, fault: BaseException | None = None, seconds: float | None = None
    ) -> None:
        """Set QUARANTINED: the mapping cannot start until the cause is removed; others run."""
        self._health.set_state(self.name, State.QUARANTINED, reason, fault=fault, seconds=seconds)

    def committed(
        self, counts: Mapping[str, int], seconds: float, last_ms: int | None = None
    ) -> None:
        """Count a committed batch; `last_ms` is when the source committed its last event."""
        for outcome, count in counts.items():
            self._events.labels(self.name, outcome).inc(count)
        self._batch.observe(seconds)
        self._batch_events.observe(sum(counts.values()))
        if last_ms:
            self._last_commit.set(last_ms / 1000)
        if counts:
            self._health.note_progress(self.name, last_ms / 1000 if last_ms else None)

    def now(self) -> float:
        return self._health.clock()

    def time_steps(self, seconds: Mapping[str, float]) -> None:
        """Observe how long each of these steps of a batch took."""
        for step, value in seconds.items():
            self._steps.labels(self.name, step).observe(value)

    def time_events(self, batch: Batch) -> None:
        """Observe the stages of the oldest event of a batch that has just been committed."""
        if batch.oldest is None or batch.taken is None:
            return
        now, start, recorded = self.now(), *(ms / 1000 for ms in batch.oldest)
        stages = {"apply": now - batch.taken, "total": now - start}
        if batch.oldest.record_ms != NO_TIMESTAMP:
            stages |= {"capture": recorded - start, "queue": batch.taken - recorded}
        for stage, value in stages.items():
            # The clocks of source, Kafka and runner may differ.
            self._latency.labels(self.name, stage).observe(max(0.0, value))

    def settled(self, counts: Mapping[str, int]) -> None:
        """Count the outcomes of stored dead letters."""
        for outcome, count in counts.items():
            self._settled.labels(self.name, outcome).inc(count)

    def dead_letters(self, waiting: int, deferred: int, budget_left: int) -> None:
        """Set the number of OPEN and of PARKED dead letters, and the rest of the budget."""
        self._dead_letters.labels(self.name, "open").set(waiting)
        self._dead_letters.labels(self.name, "parked").set(deferred)
        self._budget_left.labels(self.name).set(budget_left)

    def _status(self) -> MappingStatus:
        return self._health.statuses()[self.name]

    def _is_paused(self) -> float:
        return float(self._status().state in (State.PAUSED, State.STOPPED))

    def _is_quarantined(self) -> float:
        return float(self._status().state is State.QUARANTINED)

    def _paused_since(self) -> float:
        status = self._status()
        return status.since if status.state in (State.PAUSED, State.STOPPED) else 0.0
