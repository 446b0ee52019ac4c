"""A check of the settings that does not end refuses the reload."""

import subprocess
from typing import Any

import pytest

from sink_runner.control import reload


def test_check_that_does_not_end_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, timeout: float, **__: Any) -> None:
        raise subprocess.TimeoutExpired("sink-runner", timeout)

    monkeypatch.setattr(subprocess, "run", run)
    assert "did not end" in reload.check_settings()
