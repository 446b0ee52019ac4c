"""The check whether a container engine answers, with and without Docker's Python package."""

import sys
from pathlib import Path

import pytest

from sink_stack import engine


def test_stopped_engine_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not engine.answers()


@pytest.mark.parametrize("code", [0, 1])
def test_command_runs_before_the_package_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "docker", None)
    assert engine.answers() is (code == 0)
