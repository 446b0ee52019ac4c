"""`sink-runner doctor` on the real stack: it finds nothing, and then that capture has stopped."""

import json
import subprocess
from typing import Any

import pytest
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from .runner_process import ROOT

pytestmark = pytest.mark.stack


def run_doctor(stack: StackUnderTest) -> tuple[int, dict[str, Any]]:
    """Return the exit code of the command, and its groups by their names."""
    completed = subprocess.run(
        sink_runner("doctor", "--json", "--config", str(ROOT / "sink-runner.toml")),
        env=stack.env,
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.returncode, {
        one["group"]: one for one in json.loads(completed.stdout)["groups"]
    }


def findings(groups: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (name, found["check"], found["problem"])
        for name, group in groups.items()
        for found in group["findings"]
    ]


def test_doctor_finds_what_was_stopped(stack: StackUnderTest) -> None:
    stack.revive()
    code, groups = run_doctor(stack)
    assert findings(groups) == []
    assert code == 0
    assert [one["not_checked"] for one in groups.values() if one["not_checked"]] == []
    assert groups["database smart_citizen"]["version"].startswith("PostgreSQL ")
    assert groups["kafka"]["version"].startswith("Kafka ")
    stack.stop("citizen")
    try:
        code, groups = run_doctor(stack)
    finally:
        stack.revive()
    assert [(name, check) for name, check, _ in findings(groups)] == [
        ("database smart_citizen", "slot")
    ]
    assert code == 1
