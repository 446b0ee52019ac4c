"""A mapping is paused, resumed and replayed on the real stack, as docs/guide/control.md says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support import console
from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack
NAME = "golden-records"
PEOPLE = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name)
SELECT gen_random_uuid(), lpad((n + 61000)::text, 12, '8'), 'Controlled ' || n
FROM generate_series(%s::int, %s::int) n
"""
STATE = """
SELECT state, lag_events, reason FROM sink.mapping_status WHERE mapping = 'golden-records'
ORDER BY seen_at DESC LIMIT 1
"""
COUNT = "SELECT count(*) FROM profile_data WHERE full_name LIKE 'Controlled %%'"


class Operator:
    """Calls the commands with the environment of the stack."""

    def __init__(self, stack: StackUnderTest) -> None:
        programs = str(Path(sys.executable).parent)
        self.environ = {
            **stack.env,
            "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
            "SINK_CONFIG": str(ROOT / "sink-runner.toml"),
        }

    def __call__(self, *words: str) -> None:
        done = subprocess.run(
            sink_runner(*words),
            cwd=ROOT,
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def operator(stack: StackUnderTest) -> Any:
    found = Operator(stack)
    yield found
    found("resume", NAME)


def test_paused_mapping_continues_after_restart_and_replay(
    stack: StackUnderTest, operator: Operator, tmp_path: Path
) -> None:
    only = ("--only", NAME)
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        with run_runner(stack.env, tmp_path / "one", *only, mappings=1):
            warehouse.execute(PEOPLE, (1, 1))
            eventually(lambda: fetch_row(portal, COUNT) == (1,))
            operator("pause", NAME, "--reason", "index rebuild")
            eventually(lambda: fetch_row(portal, STATE)[:2] == ("paused", 0))
            warehouse.execute(PEOPLE, (2, 5))
            eventually(lambda: fetch_row(portal, STATE)[:2] == ("paused", 4))
            assert fetch_row(portal, COUNT) == (1,)
        assert fetch_row(portal, STATE)[0] == "ended"
        with run_runner(stack.env, tmp_path / "two", *only, mappings=1):
            eventually(lambda: fetch_row(portal, STATE)[0] == "paused")
            assert fetch_row(portal, STATE)[2].endswith(": index rebuild")
            assert fetch_row(portal, COUNT) == (1,)
            operator("resume", NAME)
            eventually(lambda: fetch_row(portal, COUNT) == (5,))

            portal.execute("DELETE FROM profile_data WHERE full_name = 'Controlled 3'")
            operator("replay", NAME, "--from", "2026-01-01", "--yes")
            eventually(lambda: fetch_row(portal, COUNT) == (5,))
            console.run(ROOT / "docs/guide/control.md", ROOT, operator.environ)
