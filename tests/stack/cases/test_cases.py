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
SECONDS = 12.0  # what was deferred is retried every half second
PAUSE = 0.2
MOST = 6  # of a kind are shown when a test fails


@pytest.fixture(scope="module")
def ground(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with playing(stack, CASES, tmp_path_factory.mktemp("cases")) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(ground: Ground, case: Case) -> None:
    """The target has the expected rows, or the mapping is quarantined for the expected reason."""
    if case.refusal:
        for name in case.mappings:
            state = ground.states()[name]
            assert state["state"] in {"quarantined", "stopped"}
            missing = [word for word in case.refusal if word not in state["reason"].lower()]
            assert missing == [], state["reason"]
        if case.rows is not None:
            rows = ground.target.execute(case.show.encode()).fetchall()
            assert rows == [*case.rows]
        return
    eventually_settled(ground, case)
    found = difference(ground, case)
    assert not found, "\n".join(f"{name}: {one!r:.400}" for name, one in found)
    messages = ground.dead_letters(case)
    assert [word for word in case.dead_letters if not any(word in one for one in messages)] == []


def eventually_settled(ground: Ground, case: Case) -> None:
    """Wait until no event is deferred; `difference` reports what is still wrong."""
    bound = time.monotonic() + SECONDS
    while difference(ground, case) and time.monotonic() < bound:
        time.sleep(PAUSE)


def difference(ground: Ground, case: Case) -> list[tuple[str, Any]]:
    """What is not as it has to be: what it is, and the thing itself."""
    states = {name: ground.states()[name] for name in case.mappings}
    expected = case.rows
    if expected is None:
        expected = ground.source.execute(case.show.encode()).fetchall()
    rows = ground.target.execute(case.show.encode()).fetchall()
    dead_letters = ground.dead_letters(case)
    found = {
        "states": [state for state in states.values() if state["state"] != "running"],
        "late": [ground.late[name] for name in case.mappings if name in ground.late],
        "missing": [row for row in expected if row not in rows],
        "extra": [row for row in rows if row not in expected],
        "dead letters": dead_letters if len(dead_letters) != len(case.dead_letters) else [],
    }
    return [(name, one) for name, all_ in found.items() for one in all_[:MOST]]
