"""Each fault is injected into the real stack under load, and no change is lost or duplicated."""

import pytest

from ..oracle.comparison import Difference
from ..stack.deployment import describe_differences
from .faults import FAULTS, Fault
from .harness import Harness
from .report import FaultReport, Outcome

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

_DUPLICATES = ("extra row", "conflict row without a deletion")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault_loses_and_duplicates_nothing(
    harness: Harness, fault_report: FaultReport, fault: Fault
) -> None:
    fault_report.file = harness.stack.stack.layout.home / "faults.txt"
    dead_letters, changes = harness.deployment.count_dead_letters(), harness.changes
    for _ in range(harness.rounds):
        harness.ensure_runner()
        with harness.run_load():
            harness.pause(0.3, 2)
            fault.inject(harness)
            harness.pause(0.3, 1)
    harness.ensure_runner()
    lag_seconds = harness.seconds_to_apply_all()
    differences = harness.find_differences()
    duplicates = sum(difference.problem in _DUPLICATES for difference in differences)
    outcome = Outcome(
        fault=fault.name,
        times=harness.rounds,
        changes=harness.changes - changes,
        lost=len(differences) - duplicates,
        duplicates=duplicates,
        dead_letters=harness.deployment.count_dead_letters() - dead_letters,
        expected_dead_letters=fault.dead_letters * harness.rounds,
        lag_seconds=lag_seconds,
    )
    fault_report.add(outcome)
    assert outcome.passed, describe(outcome, differences, harness)
    assert harness.deployment.logged_numbers() == 0


def describe(outcome: Outcome, differences: list[Difference], harness: Harness) -> str:
    return "\n".join(
        [
            str(outcome),
            describe_differences(differences),
            *harness.deployment.describe_dead_letters(),
            harness.deployment.log_tail(),
        ]
    )
