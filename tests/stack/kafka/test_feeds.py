"""Behaviour of both Kafka clients that the worker relies on, on a real broker."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from sink_stack.testing_stack import StackUnderTest
from sink_stack.topics import Topic, create

from sink_runner.config.kafka import Membership
from sink_runner.errors import AccessError
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.feed import Bounds, Feed
from sink_runner.kafka.kafka_python import KafkaPythonFeed
from sink_runner.kafka.log_ends import LogEnds
from sink_runner.kafka.offset_queries import epoch_end
from sink_runner.kafka.record_size import PARTITION_FETCH_BYTES, PRODUCED_BYTES, QUEUED_BYTES
from sink_runner.model.message import Message

pytestmark = pytest.mark.stack
Make = Callable[..., Feed]
COUNT = 50


@pytest.fixture(params=["kafka-python", "librdkafka"])
def client(request: pytest.FixtureRequest) -> Callable[..., Feed]:
    if request.param == "kafka-python":
        return KafkaPythonFeed
    pytest.importorskip("confluent_kafka", reason="librdkafka is an extra")
    from sink_runner.kafka.librdkafka import LibrdkafkaFeed  # noqa: PLC0415

    return LibrdkafkaFeed


@pytest.fixture
def topic(stack: StackUnderTest) -> Iterator[str]:
    """A topic with fifty records in one partition, deleted after the test."""
    name = f"feeds.{uuid4().hex}"
    create(stack.kafka, [Topic(name=name, key=["id"], partitions=1, retention_days=1)])
    send(stack, name, range(COUNT))
    yield name
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka)
    admin.delete_topics([name])
    admin.close()


@pytest.fixture
def make(client: Make, stack: StackUnderTest, topic: str) -> Iterator[Make]:
    feeds: list[Feed] = []

    def make_feed(max_records: int = 1000, **membership: Any) -> Feed:
        connection = KafkaConnection(stack.kafka, membership=Membership(**membership))
        feeds.append(client(connection, f"group.{topic}", topic, max_records=max_records))
        return feeds[-1]

    yield make_feed
    for feed in feeds:
        feed.close()


def send(stack: StackUnderTest, topic: str, numbers: range) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for number in numbers:
        producer.send(topic, key=b"k", value=b"%d" % number, headers=[("h", b"%d" % number)])
    producer.close()


def wait_for_assignment(feed: Feed) -> Feed:
    deadline = time.monotonic() + 30
    while not feed.assignment():
        assert time.monotonic() < deadline
        feed.poll(0.1)
    return feed


def read(feed: Feed, count: int, *, max_records: int = COUNT) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records arrived"
        polled = feed.poll(0.1).get(0, ())
        assert len(polled) <= max_records
        found.extend(polled)
    return found


def test_records_carry_position_content_and_epoch(
    make: Make, stack: StackUnderTest, topic: str
) -> None:
    feed = wait_for_assignment(make())
    feed.seek(0, 7)
    first = read(feed, 1)[0]
    position = (first.topic, first.partition, first.offset)
    assert (*position, first.key, first.value) == (topic, 0, 7, b"k", b"7")
    assert list(first.headers) == [("h", b"7")]
    assert (
        first.leader_epoch
        == epoch_end(KafkaConnection(stack.kafka), topic, 0, first.leader_epoch).leader_epoch
    )
    assert first.leader_epoch >= 0


def test_seek_moves_back_and_to_beginning(make: Make) -> None:
    feed = wait_for_assignment(make())
    for offset in (40, 3, None, 20):
        feed.seek(0, offset)
        records = read(feed, COUNT - (offset or 0))
        assert [record.offset for record in records] == list(range(offset or 0, COUNT))


def test_poll_returns_at_most_the_limit(make: Make) -> None:
    feed = wait_for_assignment(make(max_records=8))
    feed.seek(0, None)
    assert len(read(feed, COUNT, max_records=8)) == COUNT


def test_single_record_is_returned_immediately(
    make: Make, stack: StackUnderTest, topic: str
) -> None:
    feed = wait_for_assignment(make())
    feed.seek(0, COUNT)
    feed.poll(1.0)
    send(stack, topic, range(1))
    began = time.monotonic()
    assert feed.poll(5.0)
    assert time.monotonic() - began < 1


def test_keeping_alive_loses_no_record(make: Make) -> None:
    feed = wait_for_assignment(make())
    feed.seek(0, None)
    for _ in range(5):
        time.sleep(0.1)
        feed.keep_alive()
    assert [record.offset for record in read(feed, COUNT)] == list(range(COUNT))


def test_second_member_takes_over_when_first_leaves(make: Make) -> None:
    first, second = wait_for_assignment(make()), make()
    second.poll(0.5)
    first.close()
    assert wait_for_assignment(second).assignment() == {0}
    second.seek(0, COUNT - 1)
    assert read(second, 1)[0].offset == COUNT - 1


def test_restarted_instance_gets_its_partition_back(make: Make) -> None:
    first = wait_for_assignment(make(instance_id="one"))
    other = make(instance_id="two")
    first.close()
    again = make(instance_id="one")
    deadline = time.monotonic() + 30
    while not again.assignment():
        assert time.monotonic() < deadline
        again.poll(0.05)
        other.poll(0.05)
        assert other.assignment() == set()


@pytest.mark.parametrize(
    ("known", "refused", "message"),
    [
        ({}, {"session_seconds": 0.5}, "less than the brokers' group.min.session"),
        ({}, {"assignment": "eager"}, "other runners of this mapping have another"),
        ({"instance_id": "one"}, {"instance_id": "one"}, "another runner has the same"),
    ],
)
def test_refused_membership_is_explained(
    make: Make, known: dict[str, Any], refused: dict[str, Any], message: str
) -> None:
    first = wait_for_assignment(make(**known))
    second = make(**refused)
    with pytest.raises(AccessError, match=message):
        poll_in_turn(first, second, seconds=30)


def poll_in_turn(*feeds: Feed, seconds: float) -> None:
    """Poll and commit as workers do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for feed in feeds:
            feed.poll(0.1)
            feed.mirror(dict.fromkeys(feed.assignment(), 0))


def test_mirrored_offset_does_not_move_position(make: Make) -> None:
    feed = wait_for_assignment(make())
    feed.seek(0, None)
    feed.mirror({0: 30})
    assert read(feed, 1)[0].offset == 0


def test_bounds_equal_those_of_log(make: Make) -> None:
    feed = wait_for_assignment(make())
    assert feed.bounds(0).first == 0 < feed.bounds(0).end


def test_ping_succeeds_before_and_after_assignment(make: Make) -> None:
    feed = make()
    feed.ping()  # without an assigned partition
    wait_for_assignment(feed).ping()


def test_polls_of_large_records_are_bounded(make: Make, stack: StackUnderTest, topic: str) -> None:
    """One poll returns all records that the client has prefetched while the worker wrote."""
    producer = KafkaProducer(bootstrap_servers=stack.kafka, max_request_size=PRODUCED_BYTES)
    sizes = [20_000_000] * 4 + [1_000_000] * 40
    for size in sizes:
        producer.send(topic, key=b"k", value=bytes(size)).get(timeout=60)
    producer.close()
    feed = wait_for_assignment(make())
    feed.seek(0, COUNT)
    polls, deadline = list[list[int]](), time.monotonic() + 60
    while sum(map(len, polls)) < len(sizes):
        assert time.monotonic() < deadline
        polls.append([len(message.value or b"") for message in feed.poll(0.5).get(0, ())])
        time.sleep(0.5)
    assert [size for poll in polls for size in poll] == sizes
    prefetched = QUEUED_BYTES + PARTITION_FETCH_BYTES
    assert max(sum(poll) for poll in polls) <= prefetched + max(sizes)


def test_largest_record_reaches_each_client(make: Make, stack: StackUnderTest, topic: str) -> None:
    """The client reads the largest record that Debezium's producer may send, and later ones."""
    producer = KafkaProducer(
        bootstrap_servers=stack.kafka,
        max_request_size=PRODUCED_BYTES,
    )
    size = PRODUCED_BYTES - 1024  # the rest is for the record's other fields
    producer.send(topic, key=b"k", value=b"x" * size).get(timeout=60)
    producer.close()
    send(stack, topic, range(2))
    feed = wait_for_assignment(make())
    feed.seek(0, COUNT - 1)
    found = read(feed, 4)
    assert [len(message.value or b"") for message in found] == [2, size, 1, 1]


def test_record_has_time_of_its_producer(make: Make) -> None:
    before = time.time() * 1000
    feed = wait_for_assignment(make())
    feed.seek(0, 0)  # the wait may have polled records
    first = read(feed, 1)[0]
    assert before - 3_600_000 < first.timestamp <= time.time() * 1000


def test_log_ends_are_known_without_group(stack: StackUnderTest, topic: str) -> None:
    ends = LogEnds(KafkaConnection(stack.kafka))
    assert ends.bounds([topic]) == {topic: {0: Bounds(0, COUNT)}}
    send(stack, topic, range(2))
    missing = f"{topic}.missing"
    assert ends.bounds([topic, missing]) == {topic: {0: Bounds(0, COUNT + 2)}, missing: {}}
    ends.close()
