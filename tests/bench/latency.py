"""From commit to commit: single changes on a stack that is up and has nothing else to do."""

from __future__ import annotations

import random
import time

from . import runner
from .home import SOURCE, TARGET, Connection, Home
from .process import Watched
from .recording import fill

WARM_UP = 100
_SECONDS = 60
_ROWS = 100
_EVERY = 0.01
_CHANGE = """
UPDATE bench.live SET revision = %(n)s, updated_at = clock_timestamp() AT TIME ZONE 'UTC'
WHERE id = %(id)s
"""
_COMMITTED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
FROM bench.live WHERE id = %s AND revision = %s
"""


def measure(home: Home, changes: int) -> list[float]:
    """Milliseconds from commit to commit, one for each change after some to warm up."""
    with (
        home.admin(SOURCE) as source,
        home.admin(TARGET) as target,
        runner.started(home, "bench-live") as watched,
    ):
        numbers = _fresh(source, WARM_UP + changes)
        taken = [_one(source, target, number, watched) for number in numbers]
    return taken[WARM_UP:]


def _fresh(source: Connection, count: int) -> range:
    """Numbers that no earlier run used; the table's rows are made by the first run."""
    found = source.execute("SELECT count(*), coalesce(max(revision), 0) FROM bench.live").fetchone()
    assert found is not None
    if not found[0]:
        fill(source, "live", first=1, last=_ROWS, step=1)
    return range(found[1] + 1, found[1] + 1 + count)


def _one(source: Connection, target: Connection, number: int, watched: Watched) -> float:
    """Change a row, wait for it, and ask both databases when they committed."""
    key = 1 + number % _ROWS
    source.execute(_CHANGE, {"n": number, "id": key})
    began = _committed(source, key, number)
    assert began is not None
    bound = time.monotonic() + _SECONDS
    while (ended := _committed(target, key, number)) is None:
        watched.check()
        if time.monotonic() > bound:
            raise TimeoutError(f"a change did not arrive within {_SECONDS} s")
        time.sleep(_EVERY)
    # An even pace would always meet the same moment of somebody's polling interval.
    time.sleep(random.uniform(0.02, 0.06))
    return (ended - began) * 1000


def _committed(connection: Connection, key: int, number: int) -> float | None:
    found = connection.execute(_COMMITTED, (key, number)).fetchone()
    return None if found is None else float(found[0])
