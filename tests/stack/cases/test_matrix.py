"""Values of every type and shape arrive unchanged by stream and by incremental snapshot."""

from collections.abc import Iterator

import pytest
from sink_stack.testing_stack import StackUnderTest

from .case_run import CaseRun, run_cases
from .matrix import matrix_cases
from .model import Case
from .test_cases import wait_for_expected_rows

pytestmark = pytest.mark.stack
CASES = tuple(matrix_cases())


@pytest.fixture(scope="module")
def case_run(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseRun]:
    with run_cases(stack, CASES, tmp_path_factory.mktemp("matrix")) as running_cases:
        yield running_cases


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_value_arrives_unchanged(case_run: CaseRun, case: Case) -> None:
    """The stream is compared first, then a snapshot into a target with deleted and emptied rows."""
    assert case_run.differences_before.get(case.name, []) == []
    assert [
        case_run.late_steps[name] for name in case.mappings if name in case_run.late_steps
    ] == []
    wait_for_expected_rows(case_run, case)
    assert case_run.dead_letters(case) == []
    assert case_run.differences(case) == []
