"""Prometheus' own check of the runner's metrics."""

import subprocess

import pytest
from sink_stack.monitoring import Programs

from tests.support.exported_metrics import export_metrics


@pytest.mark.prometheus
def test_promtool_finds_no_fault(monitoring_programs: Programs) -> None:
    command = [monitoring_programs.promtool, "check", "metrics"]
    done = subprocess.run(
        command, input=export_metrics(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
