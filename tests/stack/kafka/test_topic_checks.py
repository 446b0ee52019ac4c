"""The checks of a topic's settings and identity, on a real broker."""

from collections.abc import Callable
from functools import partial
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from sink_stack.testing_stack import StackUnderTest

from sink_runner.errors import FatalError, RetriableError
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.offset_queries import EpochEnd, epoch_end
from sink_runner.kafka.topic_checks import read_topic, topic_faults
from sink_runner.kafka.topic_identity import TopicWatch, identify
from sink_runner.model.partition import Topic

from ...support.waits import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def make(stack: StackUnderTest) -> Callable[..., str]:
    """Create a topic with these settings, with a new name or that of a deleted topic."""

    def create(name: str = "", **settings: str) -> str:
        name = name or f"checks.{uuid4().hex}"
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        topic = {"num_partitions": 2, "replication_factor": 1, "configs": configs}
        admin = KafkaAdminClient(bootstrap_servers=stack.kafka)
        # The broker answers before its own metadata knows the topic.
        admin.create_topics({name: topic}, wait_for_metadata=True)
        admin.close()
        return name

    return create


def delete(bootstrap: str, name: str) -> None:
    """Delete a topic and wait until the broker's metadata no longer knows it."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_topics([name])
    admin.close()
    eventually(lambda: read_topic(KafkaConnection(bootstrap), name) is None)


def report_faults(stack: StackUnderTest, name: str) -> list[str]:
    connection = KafkaConnection(stack.kafka)
    return [
        f"{fault.problem} {fault.remedy}"
        for fault in topic_faults(connection, name, read_topic(connection, name))
    ]


def watch_topic(stack: StackUnderTest, topic: Topic) -> TopicWatch:
    connection = KafkaConnection(stack.kafka)
    identify_topic = partial(identify, connection, topic.name)
    return TopicWatch("m", topic, identify_topic, partial(epoch_end, connection, topic.name))


def send(stack: StackUnderTest, name: str, count: int) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for number in range(count):
        producer.send(name, value=b"%d" % number, partition=0)
    producer.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cleanup_policy": "compact"}, "is compacted"),
        ({"cleanup_policy": "compact,delete"}, "is compacted"),
        ({"retention_ms": "60000"}, "keeps events for 0:01:00"),
        ({"max_message_bytes": "1048588"}, "records of up to 1048588 bytes"),
    ],
    ids=str,
)
def test_setting_that_loses_events_is_report_faults(stack, make, settings, message) -> None:
    found = report_faults(stack, make(**{"max_message_bytes": "68157440"} | settings))
    assert len(found) == 1
    assert message in found[0]
    assert "kafka-configs.sh" in found[0]


def test_topics_of_stack_have_no_faults(stack) -> None:
    assert report_faults(stack, "smart_citizen.public.citizens") == []


def test_missing_topic_is_report_faults(stack) -> None:
    (found,) = report_faults(stack, "checks.nowhere")
    assert "does not exist" in found
    assert "--create --topic checks.nowhere" in found


def test_recreated_topic_has_another_identity(stack, make) -> None:
    name = make()
    first = identify(KafkaConnection(stack.kafka), name)
    watch = watch_topic(stack, first)
    watch.check()
    delete(stack.kafka, name)
    with pytest.raises(FatalError, match="was deleted"):
        watch.check()
    make(name)
    with pytest.raises(FatalError, match="deleted and created again"):
        watch.check()


def test_end_of_leader_epoch_is_read(stack, make) -> None:
    name = make()
    send(stack, name, 5)
    connection = KafkaConnection(stack.kafka)
    assert epoch_end(connection, name, 0, 0) == EpochEnd(0, 5)
    assert epoch_end(connection, name, 0, 99) == EpochEnd(-1, -1), "no such epoch yet"
    with pytest.raises(RetriableError, match="LeaderNotAvailable"):
        epoch_end(connection, name, 7, 0)
    watch = watch_topic(stack, identify(connection, name))
    watch.check_log(0, 5, 0)
    with pytest.raises(FatalError, match="ends that epoch at offset 5"):
        watch.check_log(0, 6, 0)
    with pytest.raises(FatalError, match="holds no record of that epoch"):
        watch.check_log(0, 5, 99)


def test_truncated_log_that_grew_again_is_detected(stack, make) -> None:
    """The broker lost its disk: the topic has the same id, and more records than were applied."""
    kept, lost = make(), make()
    for name in (kept, lost):
        send(stack, name, 5)
    watches = {
        name: watch_topic(stack, identify(KafkaConnection(stack.kafka), name))
        for name in (kept, lost)
    }
    for part in ("warehouse", "citizen", "kafka"):
        stack.stop(part)
    for file in (stack.stack.layout.home / "kafka" / f"{lost}-0").iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    stack.revive()
    for name in (kept, lost):
        send(stack, name, 10)
    watches[kept].check_log(0, 5, 0)
    with pytest.raises(FatalError, match=r"ends that epoch at offset 0.* SET next_offset = 0,"):
        watches[lost].check_log(0, 5, 0)
