"""A worker that an operator pauses, or whose events are replayed."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.control.store import Wanted
from sink_runner.errors import RetriableError
from sink_runner.model.status import State

from ...support.waits import eventually

pytestmark = pytest.mark.postgres


class Operator:
    """Says whether the mapping is to be paused, and counts how often it is queried."""

    def __init__(self, pause: str | None = None) -> None:
        self.pause, self.queried, self.replay = pause, 0, 0

    def __call__(self) -> Wanted:
        self.queried += 1
        return Wanted(self.pause, self.replay)

    def wait_for_iteration(self) -> None:
        """Wait until an iteration that began after this call has ended."""
        before = self.queried
        eventually(lambda: self.queried > before + 1)


def status(harness: Any) -> tuple[State, str]:
    found = harness.health.statuses()["staged"]
    return found.state, found.reason


def test_paused_worker_writes_after_resume(harness: Any) -> None:
    operator = Operator("maintenance")
    harness.broker.send(0, 0)
    with harness.running(wanted=operator) as running:
        operator.wait_for_iteration()
        assert harness.written_ids() == []
        assert status(harness) == (State.PAUSED, "maintenance")
        assert running.worker._claims.keys() == {0}
        operator.pause = None
        harness.wait_for([0])
        assert status(harness) == (State.RUNNING, "")
    assert running.error is None


def test_batch_in_hand_is_committed_before_pause(harness: Any) -> None:
    operator = Operator()

    def pause_now(_: object) -> None:
        operator.pause = "maintenance"

    for number in range(3):
        harness.broker.send(0, number)
    with harness.running(wanted=operator, before_commit=pause_now):
        harness.wait_for([0, 1, 2])
        harness.broker.send(0, 3)
        eventually(lambda: status(harness)[0] is State.PAUSED)
        operator.wait_for_iteration()
        assert harness.broker.committed == {0: 3}
        assert harness.written_ids() == [0, 1, 2]


def test_lag_grows_while_paused(harness: Any) -> None:
    operator = Operator("maintenance")
    with harness.running(wanted=operator):
        operator.wait_for_iteration()
        harness.health.lag("staged").note_ends({0: 4})
        operator.wait_for_iteration()
        assert harness.health.lag("staged").events == 4


def test_paused_workers_take_over_partitions(harness: Any) -> None:
    harness.use_partitions(2)
    operator = Operator("maintenance")
    for number in range(4):
        harness.broker.send(number % 2, number)
    with harness.running("one", wanted=operator), harness.running("two", wanted=operator) as two:
        operator.wait_for_iteration()
        harness.broker.assign(two={0, 1})
        eventually(lambda: two.worker._claims.keys() == {0, 1})
        assert harness.written_ids() == []
        operator.pause = None
        harness.wait_for([0, 1, 2, 3])


def test_deferred_events_wait_for_resume(lookup_harness: Any) -> None:
    operator = Operator()
    lookup_harness.broker.send(0, 0, key=b"one", need="a")
    with lookup_harness.running(wanted=operator) as running:
        eventually(lambda: running.worker.counts["deferred"] == 1)
        operator.pause = "maintenance"
        operator.wait_for_iteration()
        lookup_harness.known = {"a"}
        operator.wait_for_iteration()
        assert lookup_harness.written_ids() == []
        operator.pause = None
        lookup_harness.wait_for([0])


def test_pause_and_resume_are_logged_once(harness: Any) -> None:
    operator = Operator("maintenance")
    with capture_logs() as logs, harness.running(wanted=operator):
        operator.wait_for_iteration()
        operator.pause = None
        eventually(lambda: any(one["event"] == "mapping_resumed" for one in logs))
    found = [(one["event"], one["reason"]) for one in logs if one["event"].startswith("mapping_")]
    assert found == [("mapping_paused", "maintenance"), ("mapping_resumed", "")]


def test_error_while_paused_leaves_it_paused(harness: Any) -> None:
    """A retry that succeeds sets the mapping to running; the pause is reported again."""
    operator, failures = Operator("maintenance"), [RetriableError("not now")] * 4

    def wanted() -> Wanted:
        if failures:
            raise failures.pop()
        return operator()

    with harness.running(wanted=wanted):
        operator.wait_for_iteration()
        assert status(harness) == (State.PAUSED, "maintenance")


def move_back(harness: Any, offset: int) -> None:
    harness.target.scratch.admin.execute(
        "UPDATE sink.partition_offset SET next_offset = %s, epoch = epoch + 1 WHERE topic_id = %s",
        (offset, harness.schema),
    )


def test_idle_worker_reads_replayed_events(harness: Any) -> None:
    operator = Operator()
    for number in range(3):
        harness.broker.send(0, number)
    with harness.running(wanted=operator) as running:
        harness.wait_for([0, 1, 2])
        operator.wait_for_iteration()
        move_back(harness, 1)
        operator.wait_for_iteration()
        assert harness.written_ids() == [0, 1, 2]
        operator.replay = 7
        harness.wait_for([0, 1, 1, 2, 2])
    assert running.error is None


def test_busy_worker_is_fenced_by_replay(harness: Any) -> None:
    """It learns of the replay only after its next batch was refused."""
    operator = Operator()
    harness.broker.send(0, 0)
    with harness.running(wanted=operator, max_records=1) as running:
        harness.wait_for([0])
        operator.wait_for_iteration()
        move_back(harness, 0)
        harness.broker.send(0, 1)
        harness.wait_for([0, 0, 1])
        operator.replay = 7
        operator.wait_for_iteration()
    assert running.error is None
