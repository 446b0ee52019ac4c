"""A worker detects that its topic was recreated, or that its log was truncated."""

from typing import Any

import pytest

from sink_runner.errors import ConfigError, FatalError, RetriableError
from sink_runner.kafka.offset_queries import EpochEnd
from sink_runner.kafka.topic_identity import TopicWatch
from sink_runner.model.message import Message
from sink_runner.model.partition import Topic

pytestmark = pytest.mark.postgres

OLD, NEW = Topic("c", "topic", "old"), Topic("c", "topic", "new")


def unexpected_query(partition: int, leader_epoch: int) -> EpochEnd:
    """Fail: the end of a leader epoch must not be queried."""
    raise AssertionError(f"queried epoch {leader_epoch} of partition {partition}")


def checked_worker(
    harness: Any, topics: list[Any], seconds: float, ends: Any = unexpected_query
) -> Any:
    """Return a worker whose topic is the last of `topics`; `ends` answers for leader epochs."""

    def identify() -> Topic:
        if isinstance(topics[-1], Exception):
            raise topics[-1]
        found: Topic = topics[-1]
        return found

    worker, consumer, stop = harness.worker(max_records=100)
    worker._checks.watch = TopicWatch("staged", OLD, identify, ends, seconds=seconds)
    return worker, consumer, stop


def recreate(harness: Any, rows: range) -> None:
    """Replace the topic by a new one, whose records start at offset 0 again."""
    harness.broker.logs[0] = []
    for number in rows:
        harness.broker.send(0, number)


@pytest.mark.parametrize("rows", [range(20, 30), range(20, 22)], ids=["longer", "shorter"])
def test_recreated_topic_stops_mapping(harness: Any, rows: range) -> None:
    """Without the check, the first records of a longer topic were skipped."""
    topics = [OLD]
    for number in range(5):
        harness.broker.send(0, number)
    # The periodic check finds the longer topic; the shorter one makes the offsets jump.
    worker, consumer, stop = checked_worker(harness, topics, 0.0 if len(rows) > 5 else 1e9)
    with harness.run(worker, stop) as running:
        harness.wait_for(list(range(5)))
        topics.append(NEW)
        recreate(harness, rows)
        consumer.positions[0] = min(5, 0 if len(rows) < 5 else 5)
        running.join(60)
    assert isinstance(running.error, FatalError)
    assert "deleted and created again (its id was old and is new)" in str(running.error)
    assert "sink-runner batch staged --full" in str(running.error)
    assert harness.written_ids() == list(range(5))


def test_offset_gap_in_same_topic_is_accepted(harness: Any) -> None:
    topics = [OLD]
    harness.broker.send(0, 0)
    worker, _, stop = checked_worker(harness, topics, 1e9)
    with harness.run(worker, stop) as running:
        harness.wait_for([0])
        harness.broker.logs[0].append(Message("topic", 0, 7, None, harness.broker.logs[0][0].value))
        harness.wait_for([0, 0])
    assert running.error is None


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (NEW, "deleted and created again"),
        (Topic("d", "topic", "old"), "on Kafka cluster d"),
        (ConfigError("topic 'topic' does not exist"), "was deleted"),
    ],
    ids=["another id", "another cluster", "gone"],
)
def test_error_says_what_happened_to_topic(topic: Any, message: str) -> None:
    with pytest.raises(FatalError, match=message):
        TopicWatch("m", OLD, lambda: _return_or_raise(topic), unexpected_query).check()


def _return_or_raise(topic: Any) -> Topic:
    if isinstance(topic, Exception):
        raise topic
    found: Topic = topic
    return found


def test_topic_is_checked_when_due() -> None:
    now, checks = [0.0], []

    def identify() -> Topic:
        checks.append(now[0])
        return OLD

    watch = TopicWatch("m", OLD, identify, unexpected_query, seconds=15, clock=lambda: now[0])
    for second in range(40):
        now[0] = float(second)
        watch.check_when_due()
    assert checks == [15.0, 30.0]


def test_unavailable_kafka_is_queried_again() -> None:
    outage = RetriableError("Kafka does not answer")
    watch = TopicWatch("m", OLD, lambda: _return_or_raise(outage), unexpected_query, seconds=0)
    for _ in range(2):
        with pytest.raises(RetriableError):
            watch.check_when_due()


# -- a log that was truncated and has grown again ----------------------------------------------


class EpochEnds:
    """Answers queries for the end of a leader epoch, and records them."""

    def __init__(self, **ends: EpochEnd) -> None:
        self.ends = {int(name[1:]): end for name, end in ends.items()}
        self.queries: list[int] = []

    def __call__(self, _partition: int, leader_epoch: int) -> EpochEnd:
        self.queries.append(leader_epoch)
        return self.ends[leader_epoch]


def send(harness: Any, rows: range, leader_epoch: int) -> None:
    for number in rows:
        harness.broker.send(0, number, leader_epoch=leader_epoch)


def stored_position(harness: Any) -> Any:
    return harness.target.scratch.admin.execute(
        "SELECT next_offset, leader_epoch FROM sink.partition_offset WHERE topic_id = %s",
        (harness.schema,),
    ).fetchone()


def truncate(harness: Any, first: int, rows: range = range(20, 30)) -> None:
    """Replace the log from offset `first` on by these records of leader epoch 4."""
    del harness.broker.logs[0][first:]
    send(harness, rows, 4)


def run_over_truncation(harness: Any, ends: EpochEnds) -> BaseException | None:
    """Truncate the log to two of five applied records; return the error of the worker."""
    send(harness, range(5), 3)
    worker, _, stop = checked_worker(harness, [OLD], 1e9, ends)
    with harness.run(worker, stop) as running:
        harness.wait_for(list(range(5)))
        truncate(harness, 2)
        running.join(60)
    error: BaseException | None = running.error
    return error


def test_truncated_log_that_grew_stops_mapping(harness: Any) -> None:
    """Without the check, the new records below the stored offset were skipped."""
    error = run_over_truncation(harness, EpochEnds(e3=EpochEnd(3, 2)))
    assert isinstance(error, FatalError)
    assert "up to offset 5, lastly of leader epoch 3" in str(error)
    assert "Kafka's log ends that epoch at offset 2" in str(error)
    assert "SET next_offset = 2, leader_epoch = -1" in str(error)
    assert "sink-runner batch staged --full" in str(error)
    assert harness.written_ids() == list(range(5))
    assert stored_position(harness) == (5, 3)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (EpochEnd(3, 4), "SET next_offset = 4, leader_epoch = -1"),
        (EpochEnd(-1, -1), "SET next_offset = NULL, leader_epoch = -1"),
        (EpochEnd(2, 9), "holds no record of that epoch"),
    ],
    ids=["shorter", "unknown", "lower"],
)
def test_truncation_is_detected_at_claim(harness: Any, end: EpochEnd, message: str) -> None:
    """The log has as many records as were applied, so the worker polls no new one."""
    send(harness, range(5), 3)
    with harness.running():
        harness.wait_for(list(range(5)))
    truncate(harness, 4, range(20, 21))
    worker, _, stop = checked_worker(harness, [OLD], 1e9, EpochEnds(e3=end))
    with harness.run(worker, stop) as running:
        running.join(60)
    assert isinstance(running.error, FatalError)
    assert message in str(running.error)
    assert harness.written_ids() == list(range(5))


def test_remedy_of_truncation_applies_new_records(harness: Any) -> None:
    ends = EpochEnds(e3=EpochEnd(3, 2))
    query = str(run_over_truncation(harness, ends)).split("target database: ")[1].split(";")[0]
    query = query.replace(f"'{OLD.topic_id}'", f"'{harness.schema}'")
    assert harness.target.scratch.admin.execute(query.encode()).rowcount == 1
    worker, _, stop = checked_worker(harness, [OLD], 1e9, ends)
    with harness.run(worker, stop) as running:
        harness.wait_for([*range(5), *range(20, 30)])
    assert running.error is None
    assert stored_position(harness) == (12, 4)


def test_leader_change_without_loss_is_accepted(harness: Any) -> None:
    ends = EpochEnds(e3=EpochEnd(3, 5))
    worker, _, stop = checked_worker(harness, [OLD], 1e9, ends)
    with harness.run(worker, stop) as running:
        for sent, leader_epoch in ((range(5), 3), (range(5, 8), 4), (range(8, 10), 4)):
            send(harness, sent, leader_epoch)
            harness.wait_for(list(range(sent.stop)))
    assert running.error is None
    assert ends.queries == [3]
    assert stored_position(harness) == (10, 4)


def test_truncation_within_batch_stops_mapping(harness: Any) -> None:
    """The client had fetched records of epoch 3 that Kafka lost before they were polled."""
    send(harness, range(5), 3)
    send(harness, range(5, 8), 4)
    worker, _, stop = checked_worker(harness, [OLD], 1e9, EpochEnds(e3=EpochEnd(3, 4)))
    with harness.run(worker, stop) as running:
        running.join(60)
    assert isinstance(running.error, FatalError)
    assert harness.written_ids() == []


def test_records_without_leader_epoch_cause_no_query(harness: Any) -> None:
    send(harness, range(5), -1)
    for end in (5, 8):
        worker, _, stop = checked_worker(harness, [OLD], 1e9)
        with harness.run(worker, stop) as running:
            harness.wait_for(list(range(end)))
            send(harness, range(end, end + 3), -1)
            harness.wait_for(list(range(end + 3)))
        assert running.error is None
    assert stored_position(harness) == (11, -1)


def test_missing_leader_epoch_is_stored_later(harness: Any) -> None:
    send(harness, range(2), -1)
    worker, _, stop = checked_worker(harness, [OLD], 1e9)
    with harness.run(worker, stop):
        harness.wait_for([0, 1])
        send(harness, range(2, 4), 7)
        harness.wait_for(list(range(4)))
    assert stored_position(harness) == (4, 7)


def test_recreated_topic_with_lower_epoch_is_checked_first(harness: Any) -> None:
    """Its offsets continue the old ones, so only the lower epoch shows it before the next check."""
    topics = [OLD]
    send(harness, range(5), 3)
    worker, _, stop = checked_worker(harness, topics, 1e9)
    with harness.run(worker, stop) as running:
        harness.wait_for(list(range(5)))
        topics.append(NEW)
        harness.broker.logs[0] = []
        send(harness, range(20, 30), 0)
        running.join(60)
    assert isinstance(running.error, FatalError)
    assert "deleted and created again" in str(running.error)
    assert harness.written_ids() == list(range(5))
