"""Runs the console blocks of the README files of sink_runner/schema_check and sink_runner/api."""

import os
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sink_stack.testing_stack import StackUnderTest

from ..support import console
from ..support.waits import eventually
from .runner_process import ROOT
from .test_api import start_api

pytestmark = pytest.mark.stack

CONFIG = ROOT / "sink-runner.toml"


@pytest.fixture
def environment(stack: StackUnderTest) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {
        **stack.env,
        "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
        "SINK_CONFIG": str(CONFIG),
        "SINK_STACK_HOME": str(stack.stack.layout.home),
        "GR_ID": str(uuid4()),
        "FAMILY_ID": str(uuid4()),
    }


def test_schema_checks_run_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    console.run(ROOT / "sink_runner/schema_check/README.md", tmp_path, environment)


def test_masked_read_runs_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{environment['SINK_API_PORT']}/healthz"

    def is_healthy() -> bool:
        try:
            return httpx.get(url).is_success
        except httpx.TransportError:
            return False

    with start_api(environment, CONFIG, tmp_path / "api.log"):
        eventually(is_healthy)
        console.run(ROOT / "sink_runner/api/README.md", ROOT, environment)
