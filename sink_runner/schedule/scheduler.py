"""Start the batch runs that are due, at most one at a time for each target table.

Reconciliations run beside them, one at a time.

The progress of a schedule is stored in its target database (`run_history`).  So if this process,
the database or the machine was down, one run catches up on all due times that were missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

import structlog

from ..config.sections import Scheduling
from .plans import Outcome, Plan, Progress, not_before

EX_CONFIG = 78  # the configuration is wrong: a retry would fail, too
_MAX_COUNTED = 1000


class RunHistory(Protocol):
    """Stores the progress of the schedules."""

    def read(self, plans: Sequence[Plan], now: datetime) -> Mapping[Plan, Progress]:
        """Return the progress of the plans that this scheduler may run now.

        A new plan has nothing to catch up on: it is stored as done until `now`.
        """

    def write(self, plan: Plan, progress: Progress) -> bool:
        """Store the progress; return False if the database does not answer."""


class Run(Protocol):
    """A batch that was started."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM."""

    def kill(self) -> None:
        """End it at once, by SIGKILL."""


@dataclass(slots=True)
class _Running:
    run: Run
    progress: Progress
    code: int | None = None
    warned: set[str] = field(default_factory=set)


class Scheduler:
    """Decides at each tick which batch runs to start."""

    def __init__(
        self,
        plans: Sequence[Plan],
        settings: Scheduling,
        history: RunHistory,
        start: Callable[[Plan], Run],
    ) -> None:
        self._plans = plans
        self._settings = settings
        self._history = history
        self._launch = start
        self._running: dict[Plan, _Running] = {}
        self._maintenance = settings.window
        self._stopping = False
        self.failures = 0

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def tick(self, now: datetime) -> None:
        """Store the result of runs that have ended, then start those that are due."""
        for plan, running in list(self._running.items()):
            self._check_run(plan, running, now)
        if self._stopping or self._maintenance.end(now):
            return
        idle = [plan for plan in self._plans if plan not in self._running]
        known = self._mark_crashed(self._history.read(idle, now), now)
        for due, plan in sorted(self._due(known, now), key=lambda pair: pair[0]):
            if self._has_room(plan):
                self._start(plan, known[plan], due, now)

    def stop(self) -> None:
        """Ask the running batches to end; start no more."""
        self._stopping = True
        for running in self._running.values():
            running.run.terminate()

    def kill(self) -> None:
        for running in self._running.values():
            running.run.kill()

    def _mark_crashed(self, known: Mapping[Plan, Progress], now: datetime) -> dict[Plan, Progress]:
        """Mark runs as failed whose scheduler was killed before they ended."""
        found = dict(known)
        for plan, progress in known.items():
            if progress.outcome is not Outcome.RUNNING:
                continue
            found[plan] = self._after_failure(progress, now)
            if self._history.write(plan, found[plan]):
                self._log(plan).error("batch_failed", reason="its scheduler was killed")
            else:
                del found[plan]
        return found

    def _due(self, known: Mapping[Plan, Progress], now: datetime) -> list[tuple[datetime, Plan]]:
        found = []
        for plan, progress in known.items():
            due = plan.cron.latest(now)
            if due > progress.done_until and not_before(progress, due, self._settings) <= now:
                found.append((due, plan))
        return found

    def _has_room(self, plan: Plan) -> bool:
        """Return whether the plan may start; a reconciliation never delays a batch run."""
        targets = {running.target for running in self._running if not running.reconciles}
        if plan.reconciles:
            return plan.target not in targets and not self._is_reconciling
        return plan.target not in targets and len(targets) < self._settings.at_once

    @property
    def _is_reconciling(self) -> bool:
        return any(running.reconciles for running in self._running)

    def _start(self, plan: Plan, before: Progress, due: datetime, now: datetime) -> None:
        failures = before.failures if before.due == due else 0
        progress = replace(
            before,
            due=due,
            failures=failures,
            started_at=now,
            ended_at=None,
            outcome=Outcome.RUNNING,
        )
        if not self._history.write(plan, progress):
            return
        log = self._log(plan)
        if not failures:
            times = list(islice(plan.cron.between(before.done_until, due), _MAX_COUNTED))
            late = (now - self._maintenance.shift(times[0])).total_seconds() / 60
            if late > self._settings.late_minutes:
                log.warning("batch_late", due=_text(times[0]), minutes=round(late, 1))
            log.info("batch_started", due=_text(due), caught_up=len(times) - 1)
        else:
            log.info("batch_started", due=_text(due), attempt=failures + 1)
        self._running[plan] = _Running(self._launch(plan), progress)

    def _check_run(self, plan: Plan, running: _Running, now: datetime) -> None:
        if running.code is None:
            running.code = running.run.poll()
        if running.code is None:
            self._warn_if_slow(plan, running, now)
            return
        progress = self._after_end(running, now)
        if self._history.write(plan, progress):
            del self._running[plan]
            self._log_end(plan, progress, running.code)

    def _after_end(self, running: _Running, now: datetime) -> Progress:
        progress = replace(running.progress, ended_at=now)
        if running.code == 0:
            assert progress.due is not None
            return replace(progress, outcome=Outcome.OK, done_until=progress.due, failures=0)
        if self._stopping:
            return replace(progress, outcome=Outcome.INTERRUPTED)
        return self._after_failure(progress, now, final=running.code == EX_CONFIG)

    def _after_failure(self, progress: Progress, now: datetime, *, final: bool = False) -> Progress:
        """Return the progress after a failure; without retries left, the due time is done."""
        assert progress.due is not None
        final = final or progress.failures >= self._settings.retries
        return replace(
            progress,
            outcome=Outcome.FAILED,
            ended_at=now,
            failures=progress.failures + 1,
            done_until=progress.due if final else progress.done_until,
        )

    def _warn_if_slow(self, plan: Plan, running: _Running, now: datetime) -> None:
        assert running.progress.started_at is not None
        duration = now - running.progress.started_at
        limit = timedelta(minutes=self._settings.limit_minutes)
        for name, allowed in (("expected", plan.expected), ("limit", limit)):
            if duration > allowed and name not in running.warned:
                running.warned.add(name)
                minutes = round(allowed.total_seconds() / 60, 1)
                self._log(plan).warning("batch_slow", longer_than=name, minutes=minutes)

    def _log_end(self, plan: Plan, progress: Progress, code: int) -> None:
        assert progress.started_at is not None
        assert progress.ended_at is not None
        duration = progress.ended_at - progress.started_at
        log = self._log(plan).bind(seconds=round(duration.total_seconds(), 1))
        match progress.outcome:
            case Outcome.OK:
                log.info("batch_finished")
            case Outcome.INTERRUPTED:
                log.info("batch_interrupted")
            case _:
                self.failures += 1
                gave_up = progress.done_until == progress.due
                log.error(
                    "batch_failed", exit_code=code, attempt=progress.failures, gave_up=gave_up
                )

    def _log(self, plan: Plan) -> structlog.typing.FilteringBoundLogger:
        bound: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            mapping=plan.mapping, mode=plan.mode
        )
        return bound


def _text(time: datetime) -> str:
    return time.isoformat(timespec="minutes")
