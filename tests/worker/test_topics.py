"""A topic that is deleted and created again under a running worker is noticed."""

from typing import Any

import pytest

from sink_runner.errors import ConfigError, FatalError, RetriableError
from sink_runner.kafka.identify import TopicWatch
from sink_runner.kafka.message import Message
from sink_runner.target.offsets import Topic

pytestmark = pytest.mark.postgres

OLD, NEW = Topic("c", "topic", "old"), Topic("c", "topic", "new")


def watched(stage: Any, asked: list[Any], seconds: float) -> Any:
    """A worker whose topic is what `asked` ends with."""

    def ask() -> Topic:
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        found: Topic = asked[-1]
        return found

    made = stage.worker(most=100)
    made[0]._topics = TopicWatch("staged", OLD, ask, seconds=seconds)
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


def test_offsets_that_jump_in_the_same_topic_go_on(stage: Any) -> None:
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
        TopicWatch("m", OLD, lambda: _answer(now)).check()


def _answer(now: Any) -> Topic:
    if isinstance(now, Exception):
        raise now
    found: Topic = now
    return found


def test_topic_is_asked_for_no_more_often_than_it_is_due() -> None:
    now, asked = [0.0], []

    def ask() -> Topic:
        asked.append(now[0])
        return OLD

    watch = TopicWatch("m", OLD, ask, seconds=15, clock=lambda: now[0])
    for second in range(40):
        now[0] = float(second)
        watch.check_when_due()
    assert asked == [15.0, 30.0]


def test_kafka_that_is_away_is_asked_again() -> None:
    watch = TopicWatch("m", OLD, lambda: _answer(RetriableError("away")), seconds=0)
    for _ in range(2):
        with pytest.raises(RetriableError):
            watch.check_when_due()
