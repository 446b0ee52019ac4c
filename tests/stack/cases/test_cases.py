"""Tables and values that PostgreSQL allows: each arrives as it is, or its mapping is refused."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sink_stack.testing_stack import StackUnderTest

from .ground import Ground, playing
from .model import Case
from .order import ORDER
from .tables import TABLES
from .types import TYPES

pytestmark = pytest.mark.stack
CASES = (*TYPES, *TABLES, *ORDER)
SECONDS = 20.0  # what was deferred is retried every half second
PAUSE = 0.2


@pytest.fixture(scope="module")
def ground(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with playing(stack, CASES, tmp_path_factory.mktemp("cases")) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(ground: Ground, case: Case) -> None:
    """The target shows what it has to, or the mapping is quarantined for the right reason."""
    if case.refusal:
        for name in case.mappings:
            state = ground.states()[name]
            assert state["state"] == "quarantined"
            missing = [word for word in case.refusal if word not in state["reason"].lower()]
            assert missing == [], state["reason"]
        return
    eventually_settled(ground, case)
    assert difference(ground, case) == {}
    messages = ground.dead_letters(case)
    assert [word for word in case.dead_letters if not any(word in one for one in messages)] == []


def eventually_settled(ground: Ground, case: Case) -> None:
    """Wait for what was deferred; what is still wrong then is told by `difference`."""
    bound = time.monotonic() + SECONDS
    while difference(ground, case) and time.monotonic() < bound:
        time.sleep(PAUSE)


def difference(ground: Ground, case: Case) -> dict[str, Any]:
    """What is not as it has to be."""
    states = {name: ground.states()[name] for name in case.mappings}
    expected = case.rows
    if expected is None:
        expected = ground.source.execute(case.show.encode()).fetchall()
    rows = ground.target.execute(case.show.encode()).fetchall()
    letters = ground.dead_letters(case)
    found = {
        "states": [state for state in states.values() if state["state"] != "running"],
        "late": [ground.late[name] for name in case.mappings if name in ground.late],
        "missing": [row for row in expected if row not in rows],
        "extra": [row for row in rows if row not in expected],
        "dead letters": letters if len(letters) != len(case.dead_letters) else [],
    }
    return {name: what for name, what in found.items() if what}
