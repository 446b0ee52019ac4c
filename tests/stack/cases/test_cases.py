"""Rows of every table that PostgreSQL allows arrive unchanged, or their mapping is refused."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sink_stack.testing_stack import StackUnderTest

from .case_run import CaseRun, run_cases
from .model import Case
from .order import ORDER
from .tables import TABLES
from .types import TYPES

pytestmark = pytest.mark.stack
CASES = (*TYPES, *TABLES, *ORDER)
SECONDS = 12.0  # deferred events are retried every half second
PAUSE = 0.2
MAX_SHOWN = 6  # differences of each kind in the message of a failed test


@pytest.fixture(scope="module")
def case_run(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseRun]:
    with run_cases(stack, CASES, tmp_path_factory.mktemp("cases")) as running_cases:
        yield running_cases


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_ends_with_expected_rows(case_run: CaseRun, case: Case) -> None:
    """The target has the expected rows, or the mapping is quarantined for the expected reason."""
    if case.refusal:
        for name in case.mappings:
            state = case_run.states()[name]
            assert state["state"] in {"quarantined", "stopped"}
            missing = [word for word in case.refusal if word not in state["reason"].lower()]
            assert missing == [], state["reason"]
        if case.rows is not None:
            rows = case_run.target.execute(case.show.encode()).fetchall()
            assert rows == [*case.rows]
        return
    wait_for_expected_rows(case_run, case)
    differences = find_differences(case_run, case)
    assert not differences, "\n".join(f"{name}: {one!r:.400}" for name, one in differences)
    messages = case_run.dead_letters(case)
    assert [word for word in case.dead_letters if not any(word in one for one in messages)] == []


def wait_for_expected_rows(case_run: CaseRun, case: Case) -> None:
    """Wait until the case has no difference, or time is up; deferred events need retries."""
    deadline = time.monotonic() + SECONDS
    while find_differences(case_run, case) and time.monotonic() < deadline:
        time.sleep(PAUSE)


def find_differences(case_run: CaseRun, case: Case) -> list[tuple[str, Any]]:
    """Return each difference from the expected result, with its kind."""
    states = {name: case_run.states()[name] for name in case.mappings}
    expected = case.rows
    if expected is None:
        expected = case_run.source.execute(case.show.encode()).fetchall()
    rows = case_run.target.execute(case.show.encode()).fetchall()
    dead_letters = case_run.dead_letters(case)
    found = {
        "states": [state for state in states.values() if state["state"] != "running"],
        "late": [
            case_run.late_steps[name] for name in case.mappings if name in case_run.late_steps
        ],
        "missing": [row for row in expected if row not in rows],
        "extra": [row for row in rows if row not in expected],
        "dead letters": dead_letters if len(dead_letters) != len(case.dead_letters) else [],
    }
    return [(kind, one) for kind, differences in found.items() for one in differences[:MAX_SHOWN]]
