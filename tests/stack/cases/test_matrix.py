"""Every type in every shape, by stream and by incremental snapshot: the text that arrives."""

from collections.abc import Iterator

import pytest
from sink_stack.testing_stack import StackUnderTest

from .ground import Ground, playing
from .matrix import matrix
from .model import Case
from .test_cases import eventually_settled

pytestmark = pytest.mark.stack
CASES = tuple(matrix())


@pytest.fixture(scope="module")
def ground(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with playing(stack, CASES, tmp_path_factory.mktemp("matrix")) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_value_arrives_as_it_is(ground: Ground, case: Case) -> None:
    """After the stream, and again after the target was emptied and a snapshot was requested."""
    assert ground.wrong_before.get(case.name, []) == []
    assert [ground.late[name] for name in case.mappings if name in ground.late] == []
    eventually_settled(ground, case)
    assert ground.dead_letters(case) == []
    assert ground.wrong(case) == []
