"""Each fault strikes the real stack under load, and everything is as if it had not."""

import pytest

from ..oracle.comparison import Difference
from ..stack.arena import told
from .board import Board, Outcome
from .faults import FAULTS, Fault
from .ground import Ground

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

_TOO_MANY = ("extra row", "conflict row without a deletion")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_nothing_is_lost_and_nothing_doubled(ground: Ground, board: Board, fault: Fault) -> None:
    board.file = ground.stack.stack.layout.home / "faults.txt"
    dead_letters, changes = ground.arena.dead_letters(), ground.changes
    for _ in range(ground.rounds):
        ground.runner()
        with ground.loaded():
            ground.pause(0.3, 2)
            fault.strike(ground)
            ground.pause(0.3, 1)
    ground.runner()
    seconds = ground.seconds_to_rest()
    left = ground.differences()
    doubled = sum(one.problem in _TOO_MANY for one in left)
    outcome = Outcome(
        fault=fault.name,
        times=ground.rounds,
        changes=ground.changes - changes,
        lost=len(left) - doubled,
        doubled=doubled,
        dead_letters=ground.arena.dead_letters() - dead_letters,
        expected=fault.dead_letters * ground.rounds,
        seconds=seconds,
    )
    board.add(outcome)
    assert outcome.held, described(outcome, left, ground)
    assert ground.arena.numbers_in_the_log() == 0


def described(outcome: Outcome, left: list[Difference], ground: Ground) -> str:
    return "\n".join(
        [str(outcome), told(left), *ground.arena.describe_dead_letters(), ground.arena.tail()]
    )
