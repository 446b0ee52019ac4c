"""The loop, where events fail: their keys stand still, others go on, people decide meanwhile."""

import time
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.errors import ConfigError, FatalError, RetriableError, WriteError
from sink_runner.writer.budget import Budget

pytestmark = pytest.mark.postgres


def eventually(what: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert what()


class Refusing:
    """A target that refuses some rows, until it is told better."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)

    def __call__(self, changes: Any) -> None:
        if found := self.bad & {change.key[0] for change in changes}:
            raise WriteError(f"{len(found)} refused")


def decide(stage: Any, status: str) -> None:
    stage.made.scratch.admin.execute(
        f"UPDATE sink.dead_letter SET status = '{status}' WHERE topic = 'topic' AND status = 'OPEN'"
    )


@pytest.fixture
def stage(stage: Any) -> Any:
    """Ten events of two keys; all stages share one table of dead letters."""
    stage.made.scratch.admin.execute("DELETE FROM sink.dead_letter WHERE topic = 'topic'")
    for number in range(10):
        stage.broker.send(0, number, key=b"even" if number % 2 == 0 else b"odd")
    yield stage
    stage.made.scratch.admin.execute("DELETE FROM sink.dead_letter WHERE topic = 'topic'")


def test_failing_key_stands_still_and_others_go_on(stage: Any) -> None:
    with stage.running(before=Refusing(4)) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        stage.until([0, 1, 2, 3, 5, 7, 9])
        # Counted after the commit that `until` has seen.
        eventually(lambda: running.worker.counts == {"written": 7, "dead": 1, "deferred": 2})
    assert stage.watcher.failed == ["WriteError"]
    (event,) = stage.watcher.events
    assert (event.offset, event.row["id"], event.op) == (4, 4, "c")


@pytest.mark.parametrize("known", [True, False], ids=["after a restart", "while it runs"])
def test_what_a_person_discards_lets_it_go_on(stage: Any, known: object) -> None:
    with stage.running(before=Refusing(4)) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        if not known:
            decide(stage, "DISCARDED")
            stage.until([0, 1, 2, 3, 5, 6, 7, 8, 9])
    if known:
        decide(stage, "DISCARDED")
        with stage.running(before=Refusing(4)):
            stage.until([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert [number for number in stage.written() if number % 2 == 0] == [0, 2, 6, 8]


def test_what_is_replayed_is_written_in_its_place(stage: Any) -> None:
    refusing = Refusing(4)
    with stage.running(before=refusing) as running:
        eventually(lambda: running.worker.counts["deferred"] == 2)
        refusing.bad.clear()
        decide(stage, "PARKED")
        stage.until(list(range(10)))
        stage.broker.send(0, 10, key=b"even")
        stage.until(list(range(11)))
    assert [number for number in stage.written() if number % 2 == 0] == [0, 2, 4, 6, 8, 10]


def test_undecodable_record_blocks_its_key(stage: Any) -> None:
    """Kafka's key tells whose it is; its value does not have to."""
    stage.broker.send(0, b"garbage", key=b"even")
    stage.broker.send(0, 11, key=b"odd")
    stage.broker.send(0, 12, key=b"even")
    with stage.running() as running:
        stage.until([*range(10), 11])
        eventually(lambda: running.worker.counts["deferred"] == 1)
    assert stage.watcher.failed == ["DecodeError"]
    assert stage.watcher.events == [None]


def test_exceeded_budget_keeps_offsets(stage: Any) -> None:
    worker, _, stop = stage.worker(before=Refusing(4, 5), most=100)
    worker._committer._budget = Budget("staged", 1)
    with stage.run(worker, stop) as running:
        running.join(20)
    assert isinstance(running.fault, FatalError)
    assert "sink-runner dlq list --mapping staged" in str(running.fault)
    assert stage.audit() == []
    with stage.running(before=Refusing(4, 5)):  # as if the budget had been raised
        stage.until([0, 1, 2, 3])


def test_row_that_can_t_age_stops_no_event(stage: Any) -> None:
    worker, _, stop = stage.worker()
    asked = []

    def refuses(_: object) -> int:
        asked.append(1)
        raise WriteError("refused by the target: CheckViolation (score)")

    worker._committer.maintain = refuses
    with capture_logs() as logs, stage.run(worker, stop) as running:
        while len(asked) < 2:
            time.sleep(0.01)
        stage.broker.send(0, 10)
        stage.until(list(range(11)))
    assert running.fault is None
    assert "maintenance_failed" in {line["event"] for line in logs}


def test_deferred_events_do_not_count_as_lag(needy: Any) -> None:
    needy.health.clock = lambda: 10_000.0
    worker, _, stop = needy.worker()
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
    needy.known = {"b"}
    with needy.run(worker, stop):
        needy.broker.send(0, 1, need="a", key=b"1")
        needy.broker.send(0, 2, need="b", key=b"2")
        needy.until([2])
        time.sleep(0.2)
    value = needy.health.registry.get_sample_value
    labels = {"mapping": "staged"}
    assert value("sink_lag_seconds", labels) == 0
    assert value("sink_applied_commit_timestamp_seconds", labels) == 9_999.0


def test_lag_rises_while_target_is_away(stage: Any) -> None:
    """The batch in flight has the age of its oldest event's commit."""
    now, down = [10_000.0], [True]
    stage.health.clock = lambda: now[0]
    stage.committed_ms = 9_990_000

    def refuse(_: Any) -> None:
        if down:
            raise RetriableError("not now")

    def lag() -> float | None:
        return stage.health.registry.get_sample_value("sink_lag_seconds", {"mapping": "staged"})

    with stage.running(before=refuse):
        eventually(lambda: lag() == 10)
        now[0] += 120
        assert lag() == 130
        down.clear()
        eventually(lambda: lag() == 0)
    assert stage.health.registry.get_sample_value("sink_lag_events", {"mapping": "staged"}) == 0


def test_health_tells_what_became_of_the_events(stage: Any) -> None:
    with stage.running(before=Refusing(4)) as running:
        eventually(lambda: running.worker.counts.total() == 10)

    def told(outcome: str) -> float | None:
        labels = {"mapping": "staged", "outcome": outcome}
        return stage.health.registry.get_sample_value("sink_events_total", labels)

    assert (told("written"), told("dead"), told("deferred")) == (7, 1, 2)


def test_latency_is_split_by_stage(stage: Any) -> None:
    now = [10_000.0]
    stage.health.clock = lambda: now[0]
    stage.committed_ms = 9_990_000
    log = stage.broker.logs[0]
    log[:] = [message._replace(timestamp=9_992_000) for message in log]

    def write(_: Any) -> None:
        now[0] = 10_003.0

    value = stage.health.registry.get_sample_value
    with stage.running(before=write, most=10):
        eventually(lambda: value("sink_batch_seconds_count", {"mapping": "staged"}))

    def spent(stage_name: str) -> float | None:
        labels = {"mapping": "staged", "stage": stage_name}
        return value("sink_event_latency_seconds_sum", labels)

    assert [spent(one) for one in ("capture", "queue", "apply", "total")] == [2, 8, 3, 13]
    assert value("sink_batch_events_sum", {"mapping": "staged"}) == 10
    for step in ("fetch", "decode", "transform", "write", "commit"):
        labels = {"mapping": "staged", "step": step}
        assert value("sink_batch_step_seconds_count", labels) == 1, step


def test_outcomes_add_up_to_events_read(needy: Any) -> None:
    """Superseded, unchanged, deferred, dead, of tombstones and of batches that are tried again."""
    needy.known = {"a"}
    for _ in range(2):
        for number in range(12):
            need = "b" if number == 7 else "a"
            needy.broker.send(0, number % 8, need=need, key=b"%d" % (number % 8))
        needy.broker.send(0, 0, key=b"3")
        needy.broker.logs[0][-1] = needy.broker.logs[0][-1]._replace(value=None)
        needy.broker.send(0, b"no event", key=b"99")
    read, faults = len(needy.broker.logs[0]), [True] * 3

    def fail(_: Any) -> None:
        if faults:
            faults.pop()
            raise RetriableError("not now")

    def total() -> float:
        metrics = needy.health.registry.collect()
        events = next(one for one in metrics if one.name == "sink_events").samples
        return sum(one.value for one in events if one.name == "sink_events_total")

    with needy.running(before=fail, most=5):
        eventually(lambda: total() >= read)
        needy.known = {"a", "b"}
        eventually(lambda: sum(settled(needy).values()) == 2)
    assert total() == read == 28
    assert settled(needy) == {"replayed": 2}


def settled(stage: Any) -> dict[str, float]:
    metrics = stage.health.registry.collect()
    found = next(one for one in metrics if one.name == "sink_dead_letters_settled").samples
    return {
        one.labels["outcome"]: one.value
        for one in found
        if one.name == "sink_dead_letters_settled_total" and one.value
    }


def test_worker_pauses_in_outage_and_loses_nothing(stage: Any) -> None:
    stage.retry_after(0.01, 0.02, 0.05)
    down = [True]

    def refuse(_: Any) -> None:
        if down:
            raise RetriableError("not now")

    def state() -> str:
        return stage.health.statuses()["staged"].state.value

    with capture_logs() as logs, stage.running(before=refuse) as running:
        stage.health.mapping("staged").running()
        eventually(lambda: state() == "paused")
        time.sleep(0.3)
        assert stage.audit() == []
        down.clear()
        stage.until(list(range(10)))
        eventually(lambda: state() == "running")
    told = [line["event"] for line in logs if line["event"].startswith("mapping_")]
    assert told == ["mapping_paused", "mapping_resumed"]
    assert running.worker.counts == {"written": 10}


class RefusingWatch:
    """A watch that refuses what is from offset 4 on, once the batch before is written."""

    def __init__(self, stage: Any, fault: Exception) -> None:
        self._stage, self._fault = stage, fault

    def maintain(self) -> None:
        return

    def close(self) -> None:
        return

    def observe(self, events: Any) -> None:
        if any(message.offset >= 4 for message, _ in events):
            eventually(lambda: self._stage.audit() == [0, 1, 2])
            raise self._fault


@pytest.mark.parametrize(
    "fault", [FatalError("another cluster"), ConfigError("another replica identity")], ids=repr
)
def test_event_that_a_watch_refuses_is_not_applied(stage: Any, fault: Exception) -> None:
    """The mapping stops before the batch is written, so its offsets stay where they are."""
    worker, _, stop = stage.worker()
    worker._watches = [RefusingWatch(stage, fault)]
    with pytest.raises(type(fault), match="another"):
        worker.run()
    stop.set()
    assert stage.written() == [0, 1, 2]
    with stage.running():
        stage.until(list(range(10)))
