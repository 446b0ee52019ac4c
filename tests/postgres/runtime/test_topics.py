"""A topic that is deleted and created again under a running worker is noticed."""

from typing import Any

import pytest

from sink_runner.errors import ConfigError, FatalError, RetriableError
from sink_runner.kafka.offset_queries import EpochEnd
from sink_runner.kafka.topic_identity import TopicWatch
from sink_runner.model.message import Message
from sink_runner.model.partition import Topic

pytestmark = pytest.mark.postgres

OLD, NEW = Topic("c", "topic", "old"), Topic("c", "topic", "new")


def ends_nowhere(partition: int, leader_epoch: int) -> EpochEnd:
    """Fail: no leader epoch is to be asked for."""
    raise AssertionError(f"asked for epoch {leader_epoch} of partition {partition}")


def watched(stage: Any, asked: list[Any], seconds: float, ends: Any = ends_nowhere) -> Any:
    """A worker whose topic is what `asked` ends with; `ends` says where leader epochs end."""

    def ask() -> Topic:
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        found: Topic = asked[-1]
        return found

    made = stage.worker(most=100)
    made[0]._checks.watch = TopicWatch("staged", OLD, ask, ends, seconds=seconds)
    return made


def recreate(stage: Any, rows: range) -> None:
    """The topic is another one, whose first record has offset 0 again."""
    stage.broker.logs[0] = []
    for number in rows:
        stage.broker.send(0, number)


@pytest.mark.parametrize("rows", [range(20, 30), range(20, 22)], ids=["longer", "shorter"])
def test_recreated_topic_stops_the_mapping(stage: Any, rows: range) -> None:
    """A longer topic was read on from the old offset: its first records were skipped."""
    asked = [OLD]
    for number in range(5):
        stage.broker.send(0, number)
    # The longer one is met in the flow, by the time; the shorter one makes the offsets jump.
    worker, consumer, stop = watched(stage, asked, 0.0 if len(rows) > 5 else 1e9)
    with stage.run(worker, stop) as running:
        stage.until(list(range(5)))
        asked.append(NEW)
        recreate(stage, rows)
        consumer.positions[0] = min(5, 0 if len(rows) < 5 else 5)
        running.join(20)
    assert isinstance(running.fault, FatalError)
    assert "deleted and created again (its id was old and is new)" in str(running.fault)
    assert "sink-runner batch staged --full" in str(running.fault)
    assert stage.audit() == list(range(5))


def test_offsets_that_jump_in_same_topic_go_on(stage: Any) -> None:
    asked = [OLD]
    stage.broker.send(0, 0)
    worker, _, stop = watched(stage, asked, 1e9)
    with stage.run(worker, stop) as running:
        stage.until([0])
        stage.broker.logs[0].append(Message("topic", 0, 7, None, stage.broker.logs[0][0].value))
        stage.until([0, 0])
    assert running.fault is None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NEW, "deleted and created again"),
        (Topic("d", "topic", "old"), "on Kafka cluster d"),
        (ConfigError("topic 'topic' does not exist"), "was deleted"),
    ],
    ids=["another id", "another cluster", "gone"],
)
def test_what_the_topic_became_is_named(now: Any, said: str) -> None:
    with pytest.raises(FatalError, match=said):
        TopicWatch("m", OLD, lambda: _answer(now), ends_nowhere).check()


def _answer(now: Any) -> Topic:
    if isinstance(now, Exception):
        raise now
    found: Topic = now
    return found


def test_topic_is_checked_when_due() -> None:
    now, asked = [0.0], []

    def ask() -> Topic:
        asked.append(now[0])
        return OLD

    watch = TopicWatch("m", OLD, ask, ends_nowhere, seconds=15, clock=lambda: now[0])
    for second in range(40):
        now[0] = float(second)
        watch.check_when_due()
    assert asked == [15.0, 30.0]


def test_kafka_that_is_away_is_asked_again() -> None:
    away = RetriableError("away")
    watch = TopicWatch("m", OLD, lambda: _answer(away), ends_nowhere, seconds=0)
    for _ in range(2):
        with pytest.raises(RetriableError):
            watch.check_when_due()


# -- a log that was truncated and has grown again ----------------------------------------------


class Ends:
    """Where Kafka says that each leader epoch ends, and which it was asked for."""

    def __init__(self, **ends: EpochEnd) -> None:
        self.ends = {int(name[1:]): end for name, end in ends.items()}
        self.asked: list[int] = []

    def __call__(self, _partition: int, leader_epoch: int) -> EpochEnd:
        self.asked.append(leader_epoch)
        return self.ends[leader_epoch]


def send(stage: Any, rows: range, leader_epoch: int) -> None:
    for number in rows:
        stage.broker.send(0, number, leader_epoch=leader_epoch)


def stored(stage: Any) -> Any:
    return stage.made.scratch.admin.execute(
        "SELECT next_offset, leader_epoch FROM sink.partition_offset WHERE topic_id = %s",
        (stage.schema,),
    ).fetchone()


def truncate(stage: Any, first: int, rows: range = range(20, 30)) -> None:
    """Let the log hold these records of leader epoch 4 from offset `first` on."""
    del stage.broker.logs[0][first:]
    send(stage, rows, 4)


def truncated(stage: Any, ends: Ends) -> BaseException | None:
    """How a worker ended whose log was truncated to two of the five records that it has applied."""
    send(stage, range(5), 3)
    worker, _, stop = watched(stage, [OLD], 1e9, ends)
    with stage.run(worker, stop) as running:
        stage.until(list(range(5)))
        truncate(stage, 2)
        running.join(20)
    fault: BaseException | None = running.fault
    return fault


def test_truncated_log_that_grew_again_stops_the_mapping(stage: Any) -> None:
    """Its records between the truncation and our offset were skipped."""
    fault = truncated(stage, Ends(e3=EpochEnd(3, 2)))
    assert isinstance(fault, FatalError)
    assert "up to offset 5, lastly of leader epoch 3" in str(fault)
    assert "Kafka's log ends that epoch at offset 2" in str(fault)
    assert "SET next_offset = 2, leader_epoch = -1" in str(fault)
    assert "sink-runner batch staged --full" in str(fault)
    assert stage.audit() == list(range(5))
    assert stored(stage) == (5, 3)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (EpochEnd(3, 4), "SET next_offset = 4, leader_epoch = -1"),
        (EpochEnd(-1, -1), "SET next_offset = NULL, leader_epoch = -1"),
        (EpochEnd(2, 9), "holds no record of that epoch"),
    ],
    ids=["shorter", "unknown", "lower"],
)
def test_truncation_is_noticed_when_claimed(stage: Any, end: EpochEnd, said: str) -> None:
    """Kafka has as many records as were applied, and none to poll."""
    send(stage, range(5), 3)
    with stage.running():
        stage.until(list(range(5)))
    truncate(stage, 4, range(20, 21))
    worker, _, stop = watched(stage, [OLD], 1e9, Ends(e3=end))
    with stage.run(worker, stop) as running:
        running.join(20)
    assert isinstance(running.fault, FatalError)
    assert said in str(running.fault)
    assert stage.audit() == list(range(5))


def test_remedy_of_a_truncation_reads_the_new_records(stage: Any) -> None:
    ends = Ends(e3=EpochEnd(3, 2))
    query = str(truncated(stage, ends)).split("target database: ")[1].split(";")[0]
    query = query.replace(f"'{OLD.topic_id}'", f"'{stage.schema}'")  # of the stage's offsets
    assert stage.made.scratch.admin.execute(query.encode()).rowcount == 1
    worker, _, stop = watched(stage, [OLD], 1e9, ends)
    with stage.run(worker, stop) as running:
        stage.until([*range(5), *range(20, 30)])
    assert running.fault is None
    assert stored(stage) == (12, 4)


def test_leader_change_without_loss_goes_on(stage: Any) -> None:
    ends = Ends(e3=EpochEnd(3, 5))
    worker, _, stop = watched(stage, [OLD], 1e9, ends)
    with stage.run(worker, stop) as running:
        for sent, leader_epoch in ((range(5), 3), (range(5, 8), 4), (range(8, 10), 4)):
            send(stage, sent, leader_epoch)
            stage.until(list(range(sent.stop)))
    assert running.fault is None
    assert ends.asked == [3]
    assert stored(stage) == (10, 4)


def test_truncation_within_a_batch_stops_the_mapping(stage: Any) -> None:
    """The client had fetched records of epoch 3 that Kafka lost before they were polled."""
    send(stage, range(5), 3)
    send(stage, range(5, 8), 4)
    worker, _, stop = watched(stage, [OLD], 1e9, Ends(e3=EpochEnd(3, 4)))
    with stage.run(worker, stop) as running:
        running.join(20)
    assert isinstance(running.fault, FatalError)
    assert stage.audit() == []


def test_records_without_leader_epoch_ask_nothing(stage: Any) -> None:
    send(stage, range(5), -1)
    for end in (5, 8):
        worker, _, stop = watched(stage, [OLD], 1e9)
        with stage.run(worker, stop) as running:
            stage.until(list(range(end)))
            send(stage, range(end, end + 3), -1)
            stage.until(list(range(end + 3)))
        assert running.fault is None
    assert stored(stage) == (11, -1)


def test_leader_epoch_of_an_upgraded_table_is_learned(stage: Any) -> None:
    send(stage, range(2), -1)
    worker, _, stop = watched(stage, [OLD], 1e9)
    with stage.run(worker, stop):
        stage.until([0, 1])
        send(stage, range(2, 4), 7)
        stage.until(list(range(4)))
    assert stored(stage) == (4, 7)


def test_recreated_topic_with_lower_epoch_is_checked_first(stage: Any) -> None:
    """Its offsets follow, so nothing but the epoch tells before the next check is due."""
    asked = [OLD]
    send(stage, range(5), 3)
    worker, _, stop = watched(stage, asked, 1e9)
    with stage.run(worker, stop) as running:
        stage.until(list(range(5)))
        asked.append(NEW)
        stage.broker.logs[0] = []
        send(stage, range(20, 30), 0)
        running.join(20)
    assert isinstance(running.fault, FatalError)
    assert "deleted and created again" in str(running.fault)
    assert stage.audit() == list(range(5))
