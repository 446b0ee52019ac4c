"""Run a sink once over the recorded topic and measure it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

from . import timeline
from .process import MeasuredProcess
from .recording import Recording, insert_accounts
from .stack import TARGET, BenchStack, Connection

_TIMEOUT_SECONDS = 600
_POLL_SECONDS = 0.25
_REVISION = "SELECT revision FROM bench.account WHERE id = %s"
_DELETE_OFFSETS = "DELETE FROM sink.partition_offset WHERE topic LIKE '%.bench.account'"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What was measured in one pass."""

    rate: float
    """Changes per second, from the first commit to the last."""
    cpu_us: float
    """CPU microseconds of the sink's process per change."""
    peak_bytes: int
    same_rows: bool
    """Whether the target has the source's values in all columns that are not masked."""


def run_pass(
    bench: BenchStack, recording: Recording, program: AbstractContextManager[MeasuredProcess]
) -> PassResult:
    """Reset the target, run the sink until the last change has arrived, and measure it."""
    with bench.connect_admin(TARGET) as target:
        reset_target(bench, target, recording)
        with program as process:
            _wait_for_last_change(target, recording, process)
        commits = timeline.read_timeline(target)
        cpu_seconds = process.cpu_between(commits.began, commits.ended)
        return PassResult(
            rate=commits.rate,
            cpu_us=cpu_seconds / (commits.last_revision - commits.first_revision) * 1e6,
            peak_bytes=process.peak_bytes,
            same_rows=Recording.digest_of(target) == recording.digest,
        )


def reset_target(bench: BenchStack, target: Connection, recording: Recording) -> None:
    """Insert every second account in its initial state and delete the stored offsets.

    So half of the first changes of the accounts are inserts and half are updates.
    """
    target.execute("TRUNCATE bench.account")
    insert_accounts(target, "account", first=2, last=recording.accounts, step=2)
    if target.execute("SELECT to_regclass('sink.partition_offset')").fetchone() != (None,):
        target.execute(_DELETE_OFFSETS.encode())
    bench.checkpoint()


def _wait_for_last_change(
    target: Connection, recording: Recording, process: MeasuredProcess
) -> None:
    """Poll the account of the last change by its primary key, which costs the database little."""
    bound = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        row = target.execute(_REVISION, (recording.last_key,)).fetchone()
        if row == (recording.events,):
            return
        process.check()
        if time.monotonic() > bound:
            raise TimeoutError(f"the last change did not arrive within {_TIMEOUT_SECONDS} s")
        time.sleep(_POLL_SECONDS)
