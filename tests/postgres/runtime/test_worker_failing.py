"""The worker with failing events: later events of their keys are deferred, others applied."""

import time
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.errors import ConfigError, FatalError, RetriableError, WriteError
from sink_runner.writer.budget import Budget

from ...support.waits import eventually

pytestmark = pytest.mark.postgres


class RejectRows:
    """A hook before the commit that rejects the rows in `bad`."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)

    def __call__(self, changes: Any) -> None:
        if found := self.bad & {change.key[0] for change in changes}:
            raise WriteError(f"{len(found)} rejected")


def decide(harness: Any, status: str) -> None:
    harness.target.scratch.admin.execute(
        f"UPDATE sink.dead_letter SET status = '{status}' WHERE topic = 'topic' AND status = 'OPEN'"
    )


@pytest.fixture
def harness(harness: Any) -> Any:
    """A harness with ten events of two keys, and without dead letters of other tests."""
    harness.target.scratch.admin.execute("DELETE FROM sink.dead_letter WHERE topic = 'topic'")
    for number in range(10):
        harness.broker.send(0, number, key=b"even" if number % 2 == 0 else b"odd")
    yield harness
    harness.target.scratch.admin.execute("DELETE FROM sink.dead_letter WHERE topic = 'topic'")


def test_failing_event_defers_only_its_key(harness: Any) -> None:
    with harness.running(before_commit=RejectRows(4)) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        harness.wait_for([0, 1, 2, 3, 5, 7, 9])
        # The counters are updated after the commit that `wait_for` has seen.
        eventually(lambda: running.worker.counts == {"written": 7, "dead": 1, "deferred": 2})
    assert harness.hooks.failed == ["WriteError"]
    (event,) = harness.hooks.events
    assert (event.offset, event.row["id"], event.op) == (4, 4, "c")


@pytest.mark.parametrize("restart", [True, False], ids=["after a restart", "while it runs"])
def test_discarded_event_unblocks_its_key(harness: Any, restart: object) -> None:
    with harness.running(before_commit=RejectRows(4)) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        if not restart:
            decide(harness, "DISCARDED")
            harness.wait_for([0, 1, 2, 3, 5, 6, 7, 8, 9])
    if restart:
        decide(harness, "DISCARDED")
        with harness.running(before_commit=RejectRows(4)):
            harness.wait_for([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert [number for number in harness.write_order() if number % 2 == 0] == [0, 2, 6, 8]


def test_replayed_event_keeps_order_of_key(harness: Any) -> None:
    rejection = RejectRows(4)
    with harness.running(before_commit=rejection) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        rejection.bad.clear()
        decide(harness, "PARKED")
        harness.wait_for(list(range(10)))
        harness.broker.send(0, 10, key=b"even")
        harness.wait_for(list(range(11)))
    assert [number for number in harness.write_order() if number % 2 == 0] == [0, 2, 4, 6, 8, 10]


def test_undecodable_record_blocks_its_key(harness: Any) -> None:
    """The record's key identifies the row; the value is not needed."""
    harness.broker.send(0, b"garbage", key=b"even")
    harness.broker.send(0, 11, key=b"odd")
    harness.broker.send(0, 12, key=b"even")
    with harness.running() as running:
        harness.wait_for([*range(10), 11])
        eventually(lambda: running.worker.counts["deferred"] == 1)
    assert harness.hooks.failed == ["DecodeError"]
    assert harness.hooks.events == [None]


def test_exceeded_budget_keeps_offsets(harness: Any) -> None:
    worker, _, stop = harness.worker(before_commit=RejectRows(4, 5), max_records=100)
    worker._committer._budget = Budget("staged", 1)
    with harness.run(worker, stop) as running:
        running.join(60)
    assert isinstance(running.error, FatalError)
    assert "sink-runner dlq list --mapping staged" in str(running.error)
    assert harness.written_ids() == []
    with harness.running(before_commit=RejectRows(4, 5)):  # as if the budget had been raised
        harness.wait_for([0, 1, 2, 3])


def test_failing_maintenance_does_not_stop_events(harness: Any) -> None:
    worker, _, stop = harness.worker()
    attempts = []

    def reject(_: object) -> int:
        attempts.append(1)
        raise WriteError("refused by the target: CheckViolation (score)")

    worker._committer.maintain = reject
    with capture_logs() as logs, harness.run(worker, stop) as running:
        while len(attempts) < 2:
            time.sleep(0.01)
        harness.broker.send(0, 10)
        harness.wait_for(list(range(11)))
    assert running.error is None
    assert "maintenance_failed" in {line["event"] for line in logs}


def test_deferred_events_do_not_count_as_lag(lookup_harness: Any) -> None:
    lookup_harness.health.clock = lambda: 10_000.0
    worker, _, stop = lookup_harness.worker()
    source = worker._pipeline.source
    worker._pipeline = replace(
        worker._pipeline,
        source=replace(
            source,
            decode=lambda messages: [
                one._replace(ts_ms=9_999_000 if one.after[0] == 2 else 1_000_000)
                for one in source.decode(messages)
            ],
        ),
    )
    lookup_harness.known = {"b"}
    with lookup_harness.run(worker, stop):
        lookup_harness.broker.send(0, 1, need="a", key=b"1")
        lookup_harness.broker.send(0, 2, need="b", key=b"2")
        lookup_harness.wait_for([2])
        time.sleep(0.2)
    value = lookup_harness.health.registry.get_sample_value
    labels = {"mapping": "staged"}
    assert value("sink_lag_seconds", labels) == 0
    assert value("sink_applied_commit_timestamp_seconds", labels) == 9_999.0


def test_lag_rises_while_target_is_unavailable(harness: Any) -> None:
    """The batch in flight has the age of its oldest event's commit."""
    now, down = [10_000.0], [True]
    harness.health.clock = lambda: now[0]
    harness.committed_ms = 9_990_000

    def refuse(_: Any) -> None:
        if down:
            raise RetriableError("not now")

    def lag() -> float | None:
        return harness.health.registry.get_sample_value("sink_lag_seconds", {"mapping": "staged"})

    with harness.running(before_commit=refuse):
        eventually(lambda: lag() == 10)
        now[0] += 120
        assert lag() == 130
        down.clear()
        eventually(lambda: lag() == 0)
    assert harness.health.registry.get_sample_value("sink_lag_events", {"mapping": "staged"}) == 0


def test_metrics_count_outcomes_of_events(harness: Any) -> None:
    with harness.running(before_commit=RejectRows(4)) as running:
        eventually(lambda: running.worker.counts.total() == 10)

    def count(outcome: str) -> float | None:
        labels = {"mapping": "staged", "outcome": outcome}
        return harness.health.registry.get_sample_value("sink_events_total", labels)

    assert (count("written"), count("dead"), count("deferred")) == (7, 1, 2)


def test_latency_is_split_by_stage(harness: Any) -> None:
    now = [10_000.0]
    harness.health.clock = lambda: now[0]
    harness.committed_ms = 9_990_000
    log = harness.broker.logs[0]
    log[:] = [message._replace(timestamp=9_992_000) for message in log]

    def write(_: Any) -> None:
        now[0] = 10_003.0

    value = harness.health.registry.get_sample_value
    with harness.running(before_commit=write, max_records=10):
        eventually(lambda: value("sink_batch_seconds_count", {"mapping": "staged"}))

    def spent(stage_name: str) -> float | None:
        labels = {"mapping": "staged", "stage": stage_name}
        return value("sink_event_latency_seconds_sum", labels)

    assert [spent(one) for one in ("capture", "queue", "apply", "total")] == [2, 8, 3, 13]
    assert value("sink_batch_events_sum", {"mapping": "staged"}) == 10
    for step in ("fetch", "decode", "transform", "write", "commit"):
        labels = {"mapping": "staged", "step": step}
        assert value("sink_batch_step_seconds_count", labels) == 1, step


def test_outcomes_add_up_to_events_read(lookup_harness: Any) -> None:
    """Every outcome counts: superseded, deferred and dead events, tombstones, retried batches."""
    lookup_harness.known = {"a"}
    for _ in range(2):
        for number in range(12):
            need = "b" if number == 7 else "a"
            lookup_harness.broker.send(0, number % 8, need=need, key=b"%d" % (number % 8))
        lookup_harness.broker.send(0, 0, key=b"3")
        lookup_harness.broker.logs[0][-1] = lookup_harness.broker.logs[0][-1]._replace(value=None)
        lookup_harness.broker.send(0, b"no event", key=b"99")
    read, faults = len(lookup_harness.broker.logs[0]), [True] * 3

    def fail(_: Any) -> None:
        if faults:
            faults.pop()
            raise RetriableError("not now")

    def total() -> float:
        metrics = lookup_harness.health.registry.collect()
        events = next(one for one in metrics if one.name == "sink_events").samples
        return sum(one.value for one in events if one.name == "sink_events_total")

    with lookup_harness.running(before_commit=fail, max_records=5):
        eventually(lambda: total() >= read)
        lookup_harness.known = {"a", "b"}
        eventually(lambda: sum(settled(lookup_harness).values()) == 2)
    assert total() == read == 28
    assert settled(lookup_harness) == {"replayed": 2}


def settled(harness: Any) -> dict[str, float]:
    metrics = harness.health.registry.collect()
    found = next(one for one in metrics if one.name == "sink_dead_letters_settled").samples
    return {
        one.labels["outcome"]: one.value
        for one in found
        if one.name == "sink_dead_letters_settled_total" and one.value
    }


def test_worker_pauses_in_outage_and_loses_nothing(harness: Any) -> None:
    harness.retry_after(0.01, 0.02, 0.05)
    down = [True]

    def refuse(_: Any) -> None:
        if down:
            raise RetriableError("not now")

    def state() -> str:
        return harness.health.statuses()["staged"].state.value

    with capture_logs() as logs, harness.running(before_commit=refuse) as running:
        harness.health.mapping("staged").running()
        eventually(lambda: state() == "paused")
        time.sleep(0.3)
        assert harness.written_ids() == []
        down.clear()
        harness.wait_for(list(range(10)))
        eventually(lambda: state() == "running")
    logged = [line["event"] for line in logs if line["event"].startswith("mapping_")]
    assert logged == ["mapping_paused", "mapping_resumed"]
    assert running.worker.counts == {"written": 10}


class RejectingWatch:
    """A source watch that raises an error at offset 4, after the batch before is written."""

    def __init__(self, harness: Any, error: Exception) -> None:
        self._harness, self._error = harness, error

    def maintain(self) -> None:
        return

    def close(self) -> None:
        return

    def observe(self, events: Any) -> None:
        if any(message.offset >= 4 for message, _ in events):
            eventually(lambda: self._harness.written_ids() == [0, 1, 2])
            raise self._error


@pytest.mark.parametrize(
    "error", [FatalError("another cluster"), ConfigError("another replica identity")], ids=repr
)
def test_event_rejected_by_watch_is_not_applied(harness: Any, error: Exception) -> None:
    """The mapping stops before the batch is written, so its offsets stay where they are."""
    worker, _, stop = harness.worker()
    worker._watches = [RejectingWatch(harness, error)]
    with pytest.raises(type(error), match="another"):
        worker.run()
    stop.set()
    assert harness.write_order() == [0, 1, 2]
    with harness.running():
        harness.wait_for(list(range(10)))
