"""Rates, CPU time and the report of the benchmark."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from ...bench.batch import BatchRates
from ...bench.passes import PassResult
from ...bench.process import MeasuredProcess
from ...bench.reference import Reference
from ...bench.report import Report
from ...bench.runner import NAME as RUNNER
from ...bench.timeline import Timeline


@pytest.fixture
def report() -> Report:
    report = Report(events=1000)
    for rate in (10_000, 50_000, 20_000):
        report.add(RUNNER, PassResult(rate=rate, cpu_us=30.0, peak_bytes=100 << 20, same_rows=True))
    report.add("other", PassResult(rate=10_000, cpu_us=60.0, peak_bytes=900 << 20, same_rows=False))
    report.references.append(Reference(merge=80_000, copy=160_000))
    report.latencies = [float(number) for number in range(1, 102)]
    return report


def test_changes_of_first_commit_do_not_count() -> None:
    assert Timeline(began=10.0, ended=12.0, first_revision=1000, last_revision=5000).rate == 2000


def test_cpu_is_read_between_two_samples(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        samples = [(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)]
        measured_process = MeasuredProcess(process=process, log=tmp_path, samples=samples)
    assert measured_process.cpu_between(0.5, 1.5) == 1.5


def test_failed_program_is_reported_with_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no such topic")
    with subprocess.Popen(["false"]) as process:
        process.wait()
    with pytest.raises(RuntimeError, match="no such topic"):
        MeasuredProcess(process, log).check()


def test_report_has_median_rate_of_passes(report: Report) -> None:
    assert report.as_json()["writers"][RUNNER]["events_per_second"] == 20_000


def test_report_is_serializable_as_json(report: Report) -> None:
    assert json.loads(json.dumps(report.as_json()))["latency_ms"]["p50"] == 51


def test_table_has_ratios_and_marks_different_rows(report: Report) -> None:
    text = io.StringIO()
    report.print(Console(file=text))
    line = next(line for line in text.getvalue().splitlines() if "other" in line)
    cells = [cell.strip() for cell in line.split("│")]
    assert cells[2:5] == ["10,000", "0.50", "0.12"]
    assert cells[7] == "DIFFER"


def test_report_has_batch_beside_plain_copy(report: Report) -> None:
    report.batches = BatchRates(rows=100_000, first_run=20_000.4, second_run=25_000, copy=100_000)
    assert report.as_json()["batch"] == {
        "rows": 100_000,
        "first_run": 20_000,
        "second_run": 25_000,
        "copy": 100_000,
    }
    output = io.StringIO()
    report.print(Console(file=output))
    assert "20,000 rows/s (5.0 s)" in output.getvalue()
