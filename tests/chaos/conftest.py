"""Fixtures of the chaos tests, and the table of outcomes at the end of the session.

The variable SEED seeds the load and the times of the faults; ROUNDS is the number of injections of
each fault.
"""

import os
from collections.abc import Iterator

import pytest
from sink_stack.testing_stack import StackUnderTest

from .harness import Harness, open_harness
from .report import FaultReport

SEED, ROUNDS = "SEED", "ROUNDS"
_REPORT = pytest.StashKey[FaultReport]()
_DEFAULT_SEED = 20


def pytest_report_header() -> str:
    return f"faults: SEED={os.environ.get(SEED) or _DEFAULT_SEED}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    fault_report = config.stash.get(_REPORT, None)
    if fault_report is not None and fault_report.outcomes:
        terminalreporter.section("faults")
        for line in fault_report.format_lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def seed() -> int:
    return int(os.environ.get(SEED) or _DEFAULT_SEED)


@pytest.fixture(scope="session")
def rounds() -> int:
    return int(os.environ.get(ROUNDS) or 1)


@pytest.fixture(scope="session")
def fault_report(pytestconfig: pytest.Config, seed: int) -> FaultReport:
    return pytestconfig.stash.setdefault(_REPORT, FaultReport(seed))


@pytest.fixture(scope="session")
def harness(
    stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory, seed: int, rounds: int
) -> Iterator[Harness]:
    log = tmp_path_factory.mktemp("chaos") / "runner.log"
    with open_harness(stack, log, seed=seed, rounds=rounds) as harness:
        yield harness
