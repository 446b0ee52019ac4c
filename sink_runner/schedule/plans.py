"""The schedules of batch runs and of reconciliations, and the progress of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..config.sections import ReconcileSchedule, Scheduling
from ..model.timetable import Cron
from ..plugin import TableMapping

_EXPECTED = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One schedule of one mapping."""

    mapping: str
    source: str
    target: str
    cron: Cron
    full: bool
    expected: timedelta
    tolerated: int = 0
    """How many rows may fail before the run counts as failed."""
    reconciles: bool = False
    """Whether it reconciles the mapping; otherwise it is a batch run."""

    @property
    def mode(self) -> str:
        if self.reconciles:
            return "reconcile-full" if self.full else "reconcile"
        return "full" if self.full else "changed"

    @property
    def pool(self) -> str:
        """The pool in another scheduler that runs one plan at a time."""
        return "sink.reconcile" if self.reconciles else self.target

    @property
    def database(self) -> str:
        return self.target.partition(".")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command that runs it, after ``sink-runner``."""
        full = ("--full",) if self.full else ()
        if self.reconciles:  # a difference is a result, which a retry would only find again
            return ("reconcile", self.mapping, *full, "--exit-zero")
        return ("batch", self.mapping, *full, "--wait", "--tolerate", str(self.tolerated))


class Outcome(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Up to which due time a schedule is done, and its last run."""

    done_until: datetime
    """Every due time up to this one has succeeded, or its retries are used up."""
    due: datetime | None = None
    """The due time of the last run."""
    failures: int = 0
    """How many runs for that due time failed."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    """The stored state of a plan."""

    progress: Progress | None
    """None if no scheduler has read the plan yet."""
    started_at: datetime | None
    """Start of the last run, whether a scheduler or a person started it."""
    outcome: str


def plans_of(mappings: Mapping[str, TableMapping], settings: Scheduling) -> list[Plan]:
    """Return the schedules of the mappings, with the settings applied, in order of names."""
    found: dict[Plan, None] = {}
    for name, mapping in sorted(mappings.items()):
        found |= dict.fromkeys(_reconciliations_of(name, mapping, settings.reconcile))
        for cron, full, expected in _times(name, mapping, settings):
            plan = Plan(
                mapping=name,
                source=mapping.source,
                target=mapping.target,
                cron=Cron(cron),
                full=full,
                expected=expected,
                tolerated=settings.tolerated_rows,
            )
            found[plan] = None
    return list(found)


def _reconciliations_of(
    name: str, mapping: TableMapping, times: ReconcileSchedule
) -> Iterator[Plan]:
    for full, expressions in ((False, times.changed), (True, times.full)):
        for cron in expressions:
            yield Plan(
                mapping=name,
                source=mapping.source,
                target=mapping.target,
                cron=Cron(cron),
                full=full,
                expected=_EXPECTED,
                reconciles=True,
            )


def _times(
    name: str, mapping: TableMapping, settings: Scheduling
) -> Iterable[tuple[str, bool, timedelta]]:
    declared = [(one.cron, one.full, one.expected) for one in mapping.schedules]
    if name not in settings.mappings:
        return declared
    expected_by_mode = {full: expected for _, full, expected in declared}
    other = settings.mappings[name]
    wanted = [*((cron, False) for cron in other.changed), *((cron, True) for cron in other.full)]
    return [(cron, full, expected_by_mode.get(full, _EXPECTED)) for cron, full in wanted]


def not_before(progress: Progress, due: datetime, settings: Scheduling) -> datetime:
    """Return the earliest start for a due time: some minutes after its last failure, if any."""
    failed = progress.due == due and progress.outcome is Outcome.FAILED
    if failed and progress.ended_at is not None:
        return progress.ended_at + timedelta(minutes=settings.retry_minutes)
    return due


def next_start(
    plan: Plan, progress: Progress | None, settings: Scheduling, now: datetime
) -> datetime:
    """Return when the plan starts next, unless another run delays it."""
    due = plan.cron.latest(now)
    if progress is None or due <= progress.done_until:
        return settings.window.shift(plan.cron.after(now))
    return settings.window.shift(max(now, not_before(progress, due, settings)))
