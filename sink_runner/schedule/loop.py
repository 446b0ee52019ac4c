"""Run the scheduler's process: clock, signals and children."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from ..config import Config
from ..config.dsn import Dsn
from ..signals import stopped_by_signals
from .child import Child
from .plans import Plan
from .run_history import PostgresRunHistory
from .scheduler import Scheduler

_BUSY_SECONDS = 0.5  # seconds between two ticks while a batch runs
_IDLE_SECONDS = 60.0  # ... and otherwise: cron's unit is the minute
_KILL_SHARE = 0.2  # the last part of the shutdown time, in which children are killed


def run(
    plans: Sequence[Plan],
    config: Config,
    dsns: Mapping[str, Dsn],
    path: Path | None,
    *,
    once: bool,
) -> int:
    """Run what is due until a signal; with `once`, until all that is due has run."""
    stop = threading.Event()
    history = PostgresRunHistory(dsns)
    scheduler = Scheduler(plans, config.schedule, history, lambda plan: Child(plan.arguments, path))
    log = structlog.get_logger()
    try:
        with stopped_by_signals(stop):
            log.info("schedule_started", schedules=len(plans))
            _watch(scheduler, stop, once=once)
            _finish(scheduler, config.shutdown_seconds)
            log.info("schedule_stopped")
    finally:
        scheduler.kill()  # after an error, no process would supervise the children
        history.close()
    return 1 if once and scheduler.failures else 0


def _watch(scheduler: Scheduler, stop: threading.Event, *, once: bool) -> None:
    while not stop.is_set():
        scheduler.tick(_now())
        if once and not scheduler.busy:
            return
        stop.wait(_BUSY_SECONDS if scheduler.busy else _until_next_minute(_now()))


def _finish(scheduler: Scheduler, seconds: float) -> None:
    """Terminate the children; in the last part of the time, kill those that still run."""
    scheduler.stop()
    end = time.monotonic() + seconds
    while scheduler.busy and time.monotonic() < end:
        if time.monotonic() > end - _KILL_SHARE * seconds:
            scheduler.kill()
        scheduler.tick(_now())
        time.sleep(0.05)


def _now() -> datetime:
    return datetime.now(UTC)


def _until_next_minute(now: datetime) -> float:
    return _IDLE_SECONDS - (now - now.replace(second=0, microsecond=0)) / timedelta(seconds=1)
