"""Measure what the audit log adds to a batch: ``python -m tests.bench.audit [ROWS ...]``.

It needs only PostgreSQL. Newer versions of the same rows are written alternately with and without
the audit, so that a change in the machine's load affects both alike. The result is the median of
the differences between neighbours.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from datetime import timedelta

from sink_stack.testing_postgres import Postgres, installed, running

from sink_runner.testing import NOW, Sample, TargetHarness, create

from .stack import HERE

_POLICIES = HERE.parents[1] / "ranger-policies"
_KEY = "00000000-0000-4000-8000-{:012}"
_PAIRS = 60


def measure(postgres: Postgres, rows: int) -> tuple[float, float]:
    """Return the median milliseconds of a batch without the audit, and what the audit adds."""
    name = postgres.fresh_database(like="smart_citizen")
    dsn, admin = postgres.dsn(name, "sink_writer"), postgres.dsn(name)
    portal = TargetHarness("golden-records", dsn=dsn, admin_dsn=admin, policies=_POLICIES)
    trail = portal.committer._trail
    plain, audited = list[float](), list[float]()
    for version in range(2 * _PAIRS):
        portal.committer._trail = trail if version % 2 else None
        messages = portal.messages(*(_make_sample(n, version) for n in range(rows)))
        start = time.perf_counter()
        portal.apply(portal.prepare(messages))
        (audited if version % 2 else plain).append((time.perf_counter() - start) * 1e3)
    portal.close()
    differences = [after - before for before, after in zip(plain, audited, strict=True)]
    return statistics.median(plain), statistics.median(differences)


def _make_sample(number: int, version: int) -> Sample:
    at = NOW + timedelta(seconds=version)
    return create(
        gr_id=_KEY.format(number),
        family_id=None,
        jan_aadhaar=f"{number:012}",
        mobile_number=f"{number:010}",
        email="person@example.org",
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
            without, added = measure(postgres, rows)
            share = added / without
            print(f"{rows:5} rows: {without:7.2f} ms, the audit {added:+.3f} ms, {share:+.1%}")


if __name__ == "__main__":
    main()
