"""The faults' common ground, and the table of what they came to.

SEED chooses the moments and the load, ROUNDS how often each fault strikes.
"""

import os
from collections.abc import Iterator

import pytest
from sink_stack.testing_stack import StackUnderTest

from .board import Board
from .ground import Ground, prepared

SEED, ROUNDS = "SEED", "ROUNDS"
_BOARD = pytest.StashKey[Board]()
_USUAL = 20


def pytest_report_header() -> str:
    return f"faults: SEED={os.environ.get(SEED) or _USUAL}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    board = config.stash.get(_BOARD, None)
    if board is not None and board.outcomes:
        terminalreporter.section("faults")
        for line in board.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def seed() -> int:
    return int(os.environ.get(SEED) or _USUAL)


@pytest.fixture(scope="session")
def rounds() -> int:
    return int(os.environ.get(ROUNDS) or 1)


@pytest.fixture(scope="session")
def board(pytestconfig: pytest.Config, seed: int) -> Board:
    return pytestconfig.stash.setdefault(_BOARD, Board(seed))


@pytest.fixture(scope="session")
def ground(
    stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory, seed: int, rounds: int
) -> Iterator[Ground]:
    log = tmp_path_factory.mktemp("chaos") / "runner.log"
    with prepared(stack, log, seed=seed, rounds=rounds) as made:
        yield made
