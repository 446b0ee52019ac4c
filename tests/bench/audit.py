"""What the audit adds to a batch: ``python -m tests.bench.audit``; it needs PostgreSQL alone.

The same rows are written again and again with a newer version, with the audit and without it by
turns, so that the machine's moods meet both; the median of each pair's difference counts.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from datetime import timedelta

from sink_stack.testing_postgres import Postgres, installed, running

from sink_runner.testing import NOW, Sample, TargetHarness, create

from .home import HERE

_POLICIES = HERE.parents[1] / "ranger-policies"
_KEY = "00000000-0000-4000-8000-{:012}"
_TURNS = 60


def measure(postgres: Postgres, rows: int) -> tuple[float, float]:
    """Median milliseconds of a batch from the chain to its commit, and what the audit adds."""
    name = postgres.fresh_database(like="smart_citizen")
    dsn, admin = postgres.dsn(name, "sink_writer"), postgres.dsn(name)
    portal = TargetHarness("golden-records", dsn=dsn, admin_dsn=admin, policies=_POLICIES)
    trail = portal.applier._trail
    plain, audited = list[float](), list[float]()
    for turn in range(2 * _TURNS):
        portal.applier._trail = trail if turn % 2 else None
        messages = portal.messages(*(_sample(n, turn) for n in range(rows)))
        start = time.perf_counter()
        portal.apply(portal.prepare(messages))
        (audited if turn % 2 else plain).append((time.perf_counter() - start) * 1e3)
    portal.close()
    differences = [after - before for before, after in zip(plain, audited, strict=True)]
    return statistics.median(plain), statistics.median(differences)


def _sample(number: int, turn: int) -> Sample:
    at = NOW + timedelta(seconds=turn)
    return create(
        gr_id=_KEY.format(number),
        family_id=None,
        jan_aadhaar=f"{number:012}",
        mobile_number=f"{number:010}",
        email="somebody@example.org",
        full_name=f"Person number {number}",
        date_of_birth=None,
        gender="Female",
        district_id=1,
        city_village="Bagru",
        status="active",
        created_at=NOW,
        updated_at=at,
    )


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [1, 20, 100, 1_000]
    with running(installed(os.environ)[0]) as postgres:
        for rows in sizes:
            whole, more = measure(postgres, rows)
            print(f"{rows:5} rows: {whole:7.2f} ms, the audit {more:+.3f} ms, {more / whole:+.1%}")


if __name__ == "__main__":
    main()
