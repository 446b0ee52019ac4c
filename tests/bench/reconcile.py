"""Reconcile a million equal rows, masked, with real databases.

``python -m tests.bench.reconcile`` runs this; it needs only PostgreSQL.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from sink_stack.stack import sink_runner
from sink_stack.testing_postgres import installed, running

from .batch import insert_people, write_config
from .stack import SOURCE, TARGET

ROWS = 1_000_000


def measure(rows: int = ROWS) -> str:
    """Return the seconds of a full run, of one by its digests, and the memory of the larger."""
    with running(installed(os.environ)[0]) as postgres, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(postgres.dsn(SOURCE), autocommit=True) as source:
            insert_people(source, rows)
        config = write_config(Path(folder), postgres)
        call(config, "batch", "--full")
        with psycopg.connect(postgres.dsn(TARGET), autocommit=True) as target:
            target.execute("VACUUM ANALYZE profile_data")
        full, unchanged = call(config, "reconcile", "--full"), call(config, "reconcile")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return (
        f"reconciliation of {rows:,} equal profiles: every row {full:.1f} s, by digests "
        f"{unchanged:.1f} s; at most {memory} MB"
    )


def call(config: Path, command: str, *options: str) -> float:
    """Run a command of the mapping; return the seconds that it took, start and end with it."""
    began = time.perf_counter()
    words = sink_runner(command, "golden-records", "--json", "--config", str(config), *options)
    env = {**os.environ, "SINK_PLUGINS": "golden-records"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.get("outcome", "equal") == "equal", report
    return time.perf_counter() - began


if __name__ == "__main__":
    print(measure(*map(int, sys.argv[1:])))
