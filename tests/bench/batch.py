"""The batch form beside the least that any copy costs: a plain COPY of the same rows.

Also a command, ``python -m tests.bench.batch``: it needs PostgreSQL and nothing else of the stack.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console
from sink_stack.stack import sink_runner
from sink_stack.testing_postgres import Postgres, installed, running

from .home import HERE, SOURCE, TARGET

ROWS = 100_000
_FILL = """
INSERT INTO golden_records (gr_id, citizen_id, jan_aadhaar, full_name, date_of_birth, gender,
  district_id, city_village, status, mobile_number, email, created_at, updated_at)
SELECT gen_random_uuid(), 'RJ' || n, lpad(n::text, 12, '0'), 'Person number ' || n,
  date '1960-01-01' + n %% 20000, 'Male', n %% 33, 'Village ' || n %% 500, 'active',
  lpad(n::text, 10, '9'), 'p' || n || '@example.org', date '2020-01-01',
  timestamp '2024-01-01' + n * interval '1 second'
FROM generate_series(1, %s::int) n
"""
_COLUMNS = """
gr_id, coalesce(family_id, gr_id), jan_aadhaar, full_name, date_of_birth, gender, district_id,
city_village, mobile_number, email, updated_at
"""
_PLAIN = """
CREATE TABLE plain (record_id uuid PRIMARY KEY, family_id uuid NOT NULL, jan_aadhaar text,
  full_name text, date_of_birth date, gender text, district_id int, city text,
  mobile_number text, email text, source_updated_at timestamp)
"""
_CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.smart_warehouse]
dsn = "{warehouse}"
reader_dsn = "{warehouse}"
[databases.smart_citizen]
dsn = "{citizen}"
reader_dsn = "{citizen}"
[policies]
directory = "{policies}"
[dead_letters]
key = "{key}"
key_id = "bench"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Rows a second of full runs, and of the copy, all of the same rows."""

    rows: int
    first: float
    """Into an empty table."""
    again: float
    """Where nothing has changed."""
    copy: float

    def text(self) -> str:
        return (
            f"batch of {self.rows:,} profiles, masked and merged: {self.first:,.0f} rows/s "
            f"({self.rows / self.first:.1f} s), unchanged {self.again:,.0f} rows/s; "
            f"plain COPY of them {self.copy:,.0f} rows/s"
        )


def measure(rows: int = ROWS) -> Batches:
    """Start a PostgreSQL of its own, fill it, copy, and run the command twice."""
    with running(installed(os.environ)[0]) as postgres, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(postgres.dsn(SOURCE), autocommit=True) as source:
            source.execute(_FILL, (rows,))
            source.execute("VACUUM ANALYZE golden_records")
            with psycopg.connect(postgres.dsn(TARGET), autocommit=True) as target:
                copied = _copy(source, target)
        config = Path(folder) / "sink-runner.toml"
        config.write_text(_config(postgres))
        first, again = (_run(config, rows) for _ in range(2))
    return Batches(rows=rows, first=rows / first, again=rows / again, copy=rows / copied)


def _copy(source: psycopg.Connection, target: psycopg.Connection) -> float:
    """Seconds of a COPY out of one database and into the other."""
    target.execute(_PLAIN)
    began = time.perf_counter()
    query = f"COPY (SELECT {_COLUMNS} FROM golden_records ORDER BY gr_id) TO STDOUT".encode()
    with (
        source.cursor().copy(query) as lines,
        target.cursor().copy("COPY plain FROM STDIN") as copy,
    ):
        for line in lines:
            copy.write(line)
    return time.perf_counter() - began


def _config(postgres: Postgres) -> str:
    return _CONFIG.format(
        warehouse=postgres.dsn(SOURCE, "sink_reader"),
        citizen=postgres.dsn(TARGET, "sink_writer"),
        policies=HERE.parents[1] / "ranger-policies",
        key=base64.b64encode(bytes(32)).decode(),
    )


def _run(config: Path, rows: int) -> float:
    """Seconds that a full run took, by its own report."""
    argv = sink_runner("batch", "golden-records", "--full", "--json", "--config", str(config))
    env = {**os.environ, "SINK_PLUGINS": "golden-records"}
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    if report["counts"]["carried"] != rows:
        raise AssertionError("the batch did not carry every row")
    return float(report["seconds"])


if __name__ == "__main__":
    Console(highlight=False).print(measure().text(), soft_wrap=True)
