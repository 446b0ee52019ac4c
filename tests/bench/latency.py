"""Measure the latency of single changes, from commit to commit, on an idle stack."""

from __future__ import annotations

import random
import time

from . import runner
from .process import MeasuredProcess
from .recording import insert_accounts
from .stack import SOURCE, TARGET, BenchStack, Connection

WARM_UP = 100
_TIMEOUT_SECONDS = 60
_ROWS = 100
_POLL_SECONDS = 0.01
_CHANGE = """
UPDATE bench.live SET revision = %(n)s, updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE id = %(id)s
"""
_COMMIT_TIME = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
FROM bench.live WHERE id = %s AND revision = %s
"""


def measure(bench: BenchStack, changes: int) -> list[float]:
    """Return the milliseconds from commit to commit of each change after the warm-up."""
    with (
        bench.connect_admin(SOURCE) as source,
        bench.connect_admin(TARGET) as target,
        runner.start_runner(bench, "bench-live") as process,
    ):
        revisions = _next_revisions(source, WARM_UP + changes)
        latencies = [_time_change(source, target, revision, process) for revision in revisions]
    return latencies[WARM_UP:]


def _next_revisions(source: Connection, count: int) -> range:
    """Return revisions that no earlier run used; insert the rows if the table is empty."""
    row = source.execute("SELECT count(*), coalesce(max(revision), 0) FROM bench.live").fetchone()
    assert row is not None
    rows, last = row
    if not rows:
        insert_accounts(source, "live", first=1, last=_ROWS, step=1)
    return range(last + 1, last + 1 + count)


def _time_change(
    source: Connection, target: Connection, revision: int, process: MeasuredProcess
) -> float:
    """Change a row, wait for it in the target, and subtract the two commit times."""
    key = 1 + revision % _ROWS
    source.execute(_CHANGE, {"n": revision, "id": key})
    source_time = _commit_time(source, key, revision)
    assert source_time is not None
    bound = time.monotonic() + _TIMEOUT_SECONDS
    while (target_time := _commit_time(target, key, revision)) is None:
        process.check()
        if time.monotonic() > bound:
            raise TimeoutError(
                f"revision {revision} did not arrive in the target within {_TIMEOUT_SECONDS} s"
            )
        time.sleep(_POLL_SECONDS)
    # At a constant rate every change would fall into the same phase of a polling interval.
    time.sleep(random.uniform(0.02, 0.06))
    return (target_time - source_time) * 1000


def _commit_time(connection: Connection, key: int, revision: int) -> float | None:
    row = connection.execute(_COMMIT_TIME, (key, revision)).fetchone()
    return None if row is None else float(row[0])
