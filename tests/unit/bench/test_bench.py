"""What the benchmark makes of its samples."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from ...bench.batch import Batches
from ...bench.measured import Pass
from ...bench.process import Watched
from ...bench.reference import Reference
from ...bench.report import Report
from ...bench.runner import NAME as OURS
from ...bench.timeline import Timeline


@pytest.fixture
def report() -> Report:
    made = Report(events=1000)
    for rate in (10_000, 50_000, 20_000):
        made.add(OURS, Pass(rate=rate, cpu_us=30.0, peak_bytes=100 << 20, same_rows=True))
    made.add("other", Pass(rate=10_000, cpu_us=60.0, peak_bytes=900 << 20, same_rows=False))
    made.references.append(Reference(merge=80_000, copy=160_000))
    made.latencies = [float(number) for number in range(1, 102)]
    return made


def test_changes_of_first_commit_do_not_count() -> None:
    assert Timeline(began=10.0, ended=12.0, first=1000, last=5000).rate == 2000


def test_cpu_is_read_between_two_samples(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        samples = [(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)]
        measured_process = Watched(process=process, log=tmp_path, samples=samples)
    assert measured_process.cpu_between(0.5, 1.5) == 1.5


def test_failed_program_is_reported_with_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no such topic")
    with subprocess.Popen(["false"]) as process:
        process.wait()
    with pytest.raises(RuntimeError, match="no such topic"):
        Watched(process, log).check()


def test_report_takes_the_median_of_the_passes(report: Report) -> None:
    assert report.as_json()["writers"][OURS]["events_per_second"] == 20_000


def test_report_is_json_all_through(report: Report) -> None:
    assert json.loads(json.dumps(report.as_json()))["latency_ms"]["p50"] == 51


def test_table_has_ratios_and_rows_that_differ(report: Report) -> None:
    text = io.StringIO()
    report.print(Console(file=text))
    line = next(line for line in text.getvalue().splitlines() if "other" in line)
    cells = [cell.strip() for cell in line.split("│")]
    assert cells[2:5] == ["10,000", "0.50", "0.12"]
    assert cells[7] == "DIFFER"


def test_report_has_batch_beside_plain_copy(report: Report) -> None:
    report.batches = Batches(rows=100_000, first=20_000.4, again=25_000, copy=100_000)
    assert report.as_json()["batch"] == {
        "rows": 100_000,
        "first": 20_000,
        "again": 25_000,
        "copy": 100_000,
    }
    output = io.StringIO()
    report.print(Console(file=output))
    assert "20,000 rows/s (5.0 s)" in output.getvalue()
