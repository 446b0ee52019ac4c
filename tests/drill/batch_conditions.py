"""Conditions of batch runs: interrupted, late, and longer than their SLA."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sink_stack.stack import sink_runner

from .condition import Condition, Repeat, once
from .site import Site, fetch_value, wait_until

_LOCK = "LOCK TABLE schemes IN ACCESS EXCLUSIVE MODE"
_IS_RUNNING = "SELECT count(*) FROM sink.batch_run WHERE outcome = 'running'"
_LET_HOURS_PASS = """UPDATE sink.batch_run SET started = started - interval '2 hours'
WHERE outcome = 'running'"""
_LET_DAYS_PASS = """UPDATE sink.schedule SET done_until = done_until - interval '2 days'
WHERE mapping = 'feedback'"""
_HAS_SCHEDULE = "SELECT count(*) FROM sink.schedule WHERE mapping = 'feedback'"
_HAS_RUN = """SELECT count(*) FROM sink.batch_run
WHERE mapping = 'feedback' AND outcome = 'done'"""
_ADD_SCHEMES = """INSERT INTO scheme_master (scheme_code, scheme_name, category)
SELECT 'DRILL' || n, 'Drill', 'FOOD' FROM generate_series(1, 401) AS n"""
_SECONDS = 60


@contextmanager
def _blocked_run(site: Site) -> Iterator[subprocess.Popen[str]]:
    """Run a batch that waits for a lock during the block."""
    with site.stack.admin("smart_citizen") as session, session.transaction():
        session.execute(_LOCK)
        process = site.spawn("batch", "schemes", "--full")
        wait_until(lambda: fetch_value(site.citizen, _IS_RUNNING), _SECONDS)
        yield process
    process.communicate(timeout=_SECONDS)


@contextmanager
def interrupt_run(site: Site) -> Iterator[Repeat]:
    with _blocked_run(site) as process:
        process.terminate()
        process.wait(timeout=_SECONDS)
    yield once
    site.run("batch", "schemes", "--full")


@contextmanager
def block_run(site: Site) -> Iterator[Repeat]:
    with _blocked_run(site):
        site.citizen.execute(_LET_HOURS_PASS)
        yield once


@contextmanager
def stop_schedule(site: Site) -> Iterator[Repeat]:
    """Stop the schedule, and set its progress back by two days."""
    _start_schedule(site)
    wait_until(lambda: fetch_value(site.warehouse, _HAS_SCHEDULE), _SECONDS)
    site.stack.stop("schedule")
    site.warehouse.execute(_LET_DAYS_PASS)
    yield once
    _start_schedule(site)
    wait_until(lambda: fetch_value(site.warehouse, _HAS_RUN), _SECONDS)
    site.stack.stop("schedule")


@contextmanager
def add_schemes(site: Site) -> Iterator[Repeat]:
    """Read twice the declared volume of schemes, and one."""
    site.warehouse.execute(_ADD_SCHEMES)
    site.run("batch", "schemes", "--full")
    yield once
    site.warehouse.execute("DELETE FROM scheme_master WHERE scheme_code LIKE 'DRILL%'")
    site.run("batch", "schemes", "--full")


def _start_schedule(site: Site) -> None:
    site.stack.stack.up_sinks({"schedule": sink_runner("schedule", "--config", str(site.config))})


BATCH_CONDITIONS = (
    Condition(alert="SinkBatchFailed", text="a batch run is interrupted", cause=interrupt_run),
    Condition(
        alert="SinkBatchLate",
        text="the schedule is stopped, and its record moved back by two days",
        cause=stop_schedule,
    ),
    Condition(
        alert="SinkBatchOverSla",
        text="a batch run waits for a lock, and its start is moved back by two hours",
        cause=block_run,
    ),
    Condition(
        alert="SinkVolumeAboveEstimate",
        text="a batch run reads 401 schemes more than usual",
        cause=add_schemes,
    ),
)
