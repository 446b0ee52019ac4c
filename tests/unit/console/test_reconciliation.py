"""Reconciliations that the console starts."""

import pytest
from structlog.testing import capture_logs

from sink_runner.console.reconciliation import ReconcileAction, Reconciler


class StubChild:
    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


@pytest.fixture
def started():
    return []


@pytest.fixture
def reconciler(started):
    def start(words):
        started.append((list(words), StubChild()))
        return started[-1][1]

    return Reconciler(start)


def test_reconciliation_is_started_as_its_command(reconciler, started):
    with capture_logs() as logs:
        answer = reconciler.act("people", ReconcileAction(repair=True), None, "asha")
    assert [words for words, _ in started] == [["reconcile", "people", "--repair", "--json"]]
    assert answer.result.startswith("reconciliation started")
    (entry,) = logs
    assert (entry["event"], entry["user"]) == ("reconciliation_requested", "asha")


def test_dry_run_starts_no_reconciliation(reconciler, started):
    answer = reconciler.act("people", ReconcileAction(dry_run=True), None, "asha")
    assert (started, answer.result) == ([], None)
    assert answer.plan[-1] == "writes nothing but its report"


def test_mapping_is_reconciled_once_at_a_time(reconciler, started):
    reconciler.act("people", ReconcileAction(), None, "asha")
    again = reconciler.act("people", ReconcileAction(), None, "ravi")
    assert (len(started), again.result) == (1, "is being reconciled already")
    started[0][1].code = 0
    reconciler.act("people", ReconcileAction(), None, "ravi")
    assert len(started) == 2
