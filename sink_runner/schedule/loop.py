"""The process around the scheduler: the clock, the signals and the children."""

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
from .run_history import PostgresLedger
from .scheduler import Scheduler

_BUSY = 0.5  # seconds between looks while a batch runs
_IDLE = 60.0  # ... and otherwise: cron knows nothing finer than a minute
_KILL = 0.2  # of the time to stop, what is left for a child that does not end when asked


def run(
    plans: Sequence[Plan],
    config: Config,
    dsns: Mapping[str, Dsn],
    path: Path | None,
    *,
    once: bool,
) -> int:
    """Run what is due, until told to stop or, `once`, until nothing is left of it."""
    stop = threading.Event()
    ledger = PostgresLedger(dsns)
    scheduler = Scheduler(plans, config.schedule, ledger, lambda plan: Child(plan.arguments, path))
    log = structlog.get_logger()
    try:
        with stopped_by_signals(stop):
            log.info("schedule_started", schedules=len(plans))
            _watch(scheduler, stop, once=once)
            _finish(scheduler, config.shutdown_seconds)
            log.info("schedule_stopped")
    finally:
        scheduler.kill()  # what is left where we can't go on: nobody would look after it
        ledger.close()
    return 1 if once and scheduler.failures else 0


def _watch(scheduler: Scheduler, stop: threading.Event, *, once: bool) -> None:
    while not stop.is_set():
        scheduler.look(_now())
        if once and not scheduler.busy:
            return
        stop.wait(_BUSY if scheduler.busy else _until_next_minute(_now()))


def _finish(scheduler: Scheduler, seconds: float) -> None:
    """Let the children end; those that do not are killed before our own time is over."""
    scheduler.stop()
    end = time.monotonic() + seconds
    while scheduler.busy and time.monotonic() < end:
        if time.monotonic() > end - _KILL * seconds:
            scheduler.kill()
        scheduler.look(_now())
        time.sleep(0.05)


def _now() -> datetime:
    return datetime.now(UTC)


def _until_next_minute(now: datetime) -> float:
    return _IDLE - (now - now.replace(second=0, microsecond=0)) / timedelta(seconds=1)
