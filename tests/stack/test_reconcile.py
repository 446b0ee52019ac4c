"""Reconciliation on the real stack: with changes in flight, damaged rows, and no runner."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support import console
from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

PEOPLE = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name)
SELECT gen_random_uuid(), lpad((n + 51000)::text, 12, '8'), 'Reconciled ' || n
FROM generate_series(1, 40) n
"""
NUMBER, NAME = "816273645546", "Quintilian Achtzehn"
COUNT = "SELECT count(*) FROM profile_data WHERE full_name LIKE 'Reconciled %%'"


def run_command(stack: StackUnderTest, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command for all rows of the mapping; return its exit code and its report."""
    return run_json(stack, arguments[0], "golden-records", "--full", *arguments[1:])


def test_reconciliation_ignores_changes_in_flight(stack: StackUnderTest, tmp_path: Path) -> None:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        with run_runner(stack.env, tmp_path / "log", "--only", "golden-records", mappings=1):
            warehouse.execute(PEOPLE)
            eventually(lambda: fetch_row(portal, COUNT) == (40,))
            assert run_command(stack, "batch")[0] == 0
            stopped = threading.Event()
            writer = threading.Thread(target=keep_changing, args=(stack, stopped))
            writer.start()
            try:
                _, report = run_command(stack, "reconcile")
            finally:
                stopped.set()
                writer.join()
            assert not {"missing", "extra", "different"} & report["counts"].keys(), report
            assert run_command(stack, "reconcile")[0] == 0

            portal.execute("DELETE FROM profile_data WHERE full_name = 'Reconciled 7'")
            code, report = run_command(stack, "reconcile")
            assert (code, report["counts"]["missing"]) == (1, 1), report
            code, report = run_command(stack, "reconcile", "--repair")
            assert (code, report["counts"]["repaired"]) == (0, 1), report
            assert fetch_row(portal, COUNT) == (40,)
            explain_new_row(stack, warehouse, tmp_path)
        warehouse.execute(
            "UPDATE golden_records SET city_village = 'Later' WHERE full_name = 'Reconciled 8'"
        )
        code, report = run_command(stack, "reconcile")
        assert (code, report["outcome"], report["counts"]["pending"]) == (1, "undecided", 1)
        assert any("no runner runs" in note for note in report["notes"])


def explain_new_row(
    stack: StackUnderTest, warehouse: psycopg.Connection[Any], folder: Path
) -> None:
    """Wait for a new row and explain it, as docs/guide/missing-rows.md does."""
    (key,) = fetch_row(
        warehouse,
        "INSERT INTO golden_records (gr_id, jan_aadhaar, full_name) "
        "VALUES (gen_random_uuid(), %s, %s) RETURNING gr_id::text",
        NUMBER,
        NAME,
    )
    environment = {
        **stack.env,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SINK_CONFIG": str(ROOT / "sink-runner.toml"),
        "GR_ID": key,
    }
    console.run(ROOT / "docs/guide/missing-rows.md", folder, environment)
    code, found = run_json(stack, "explain", "golden-records", "--key", key)
    assert (code, found["reason"], found["newest_event"]["reason"]) == (0, "present", "present")
    code, found = run_json(stack, "explain", "--at", found["newest_event"]["id"])
    assert (code, found["reason"]) == (0, "present")
    assert not {NUMBER, NAME} & {*found["target"].values()}


def run_json(stack: StackUnderTest, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit code and its report."""
    done = subprocess.run(
        sink_runner(*arguments, "--json"),
        cwd=ROOT,
        env={**os.environ, **stack.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    assert NUMBER not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def keep_changing(stack: StackUnderTest, stopped: threading.Event) -> None:
    """Change rows all the time, with commits that are flushed later."""
    with stack.admin("smart_warehouse") as warehouse:
        warehouse.execute("SET synchronous_commit = off")
        number = 0
        while not stopped.wait(0.02):
            number += 1
            warehouse.execute(
                "UPDATE golden_records SET city_village = %s WHERE full_name = %s",
                (f"Village {number}", f"Reconciled {number % 40 + 1}"),
            )
