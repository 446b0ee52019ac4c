"""Compare a full batch run with a plain COPY of the same rows, the fastest way to copy them.

``python -m tests.bench.batch`` runs this alone; it needs only PostgreSQL.
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

from .stack import HERE, SOURCE, TARGET

ROWS = 100_000
_INSERT = """
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
_CREATE_COPY_TARGET = """
CREATE TABLE copy_target (record_id uuid PRIMARY KEY, family_id uuid NOT NULL, jan_aadhaar text,
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
class BatchRates:
    """Rows per second of two full batch runs and of a COPY, all with the same rows."""

    rows: int
    first_run: float
    """The target is empty."""
    second_run: float
    """No row has changed."""
    copy: float

    def __str__(self) -> str:
        return (
            f"batch run of {self.rows:,} profiles, masked and merged: "
            f"{self.first_run:,.0f} rows/s ({self.rows / self.first_run:.1f} s), "
            f"unchanged {self.second_run:,.0f} rows/s; plain COPY {self.copy:,.0f} rows/s"
        )


def measure(rows: int = ROWS) -> BatchRates:
    """Start a PostgreSQL server, insert and copy the rows, and run the batch command twice."""
    with running(installed(os.environ)[0]) as postgres, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(postgres.dsn(SOURCE), autocommit=True) as source:
            insert_people(source, rows)
            with psycopg.connect(postgres.dsn(TARGET), autocommit=True) as target:
                copy_seconds = _time_copy(source, target)
        config = write_config(Path(folder), postgres)
        first, second = (_time_run(config, rows) for _ in range(2))
    return BatchRates(
        rows=rows, first_run=rows / first, second_run=rows / second, copy=rows / copy_seconds
    )


def insert_people(source: psycopg.Connection, rows: int) -> None:
    source.execute(_INSERT, (rows,))
    source.execute("VACUUM ANALYZE golden_records")


def write_config(folder: Path, postgres: Postgres) -> Path:
    config = folder / "sink-runner.toml"
    config.write_text(_make_config(postgres))
    return config


def _time_copy(source: psycopg.Connection, target: psycopg.Connection) -> float:
    """Return the seconds of a COPY from one database into the other."""
    target.execute(_CREATE_COPY_TARGET)
    start = time.perf_counter()
    query = f"COPY (SELECT {_COLUMNS} FROM golden_records ORDER BY gr_id) TO STDOUT".encode()
    with (
        source.cursor().copy(query) as lines,
        target.cursor().copy("COPY copy_target FROM STDIN") as copy,
    ):
        for line in lines:
            copy.write(line)
    return time.perf_counter() - start


def _make_config(postgres: Postgres) -> str:
    return _CONFIG.format(
        warehouse=postgres.dsn(SOURCE, "sink_reader"),
        citizen=postgres.dsn(TARGET, "sink_writer"),
        policies=HERE.parents[1] / "ranger-policies",
        key=base64.b64encode(bytes(32)).decode(),
    )


def _time_run(config: Path, rows: int) -> float:
    """Return the seconds of a full batch run as the command reports them."""
    argv = sink_runner("batch", "golden-records", "--full", "--json", "--config", str(config))
    env = {**os.environ, "SINK_PLUGINS": "golden-records"}
    result = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
    report = json.loads(result.stdout)
    if report["counts"]["carried"] != rows:
        raise AssertionError(f"the batch run wrote {report['counts']['carried']} of {rows} rows")
    return float(report["seconds"])


if __name__ == "__main__":
    Console(highlight=False).print(str(measure()), soft_wrap=True)
