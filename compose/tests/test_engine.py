"""Whether a container engine answers, with and without Docker's Python package."""

import sys
from pathlib import Path

import pytest

from sink_stack import engine


def test_engine_that_does_not_listen_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert not engine.answers()


@pytest.mark.parametrize(("code", "answers"), [(0, True), (1, False)])
def test_command_is_asked_before_the_package_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, answers: bool
) -> None:
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "docker", None)
    assert engine.answers() is answers
