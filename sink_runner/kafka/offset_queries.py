"""Query topics, offsets and leader epochs by kafka-python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, LeaderNotAvailableError, for_code
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from ..errors import RetriableError
from .broker_check import client_error, is_reachable
from .connection import KafkaConnection, open_client
from .feed import PING_SECONDS, Bounds

T = TypeVar("T")


@contextmanager
def kafka_errors(connection: KafkaConnection) -> Iterator[None]:
    """Raise AccessError where Kafka refuses the client, RetriableError for all other errors."""
    try:
        yield
    except KafkaError as fault:
        raise client_error(connection, fault) from fault


def open_reachable(
    client: Callable[..., T], connection: KafkaConnection, settings: Mapping[str, Any]
) -> T:
    """Make a client of kafka-python.

    Raises RetriableError if no broker accepts a connection: the client would wait 30 seconds for
    one, and an outage would be reported only after several such attempts.
    """
    if not is_reachable(connection, PING_SECONDS):
        raise RetriableError("Kafka does not answer")
    return open_client(client, settings)


@contextmanager
def admin_client(connection: KafkaConnection) -> Iterator[KafkaAdminClient]:
    """A client for metadata, whose errors are raised as by `kafka_errors`."""
    with kafka_errors(connection):
        settings = connection.for_kafka_python("admin", {})
        admin = open_reachable(KafkaAdminClient, connection, settings)
        try:
            yield admin
        finally:
            admin.close()


def describe_topic(admin: KafkaAdminClient, topic: str) -> Mapping[str, Any] | None:
    """Return a topic's id and partitions; None where there is no such topic."""
    found = admin.describe_topics([topic])[0]
    kind = for_code(found.get("error_code") or 0)
    if issubclass(kind, AuthorizationError):
        raise kind
    return None if found.get("error_code") else cast("Mapping[str, Any]", found)


def topic_bounds(connection: KafkaConnection, topic: str) -> Mapping[int, Bounds]:
    """Return the offsets that Kafka holds of each partition of a topic."""
    with kafka_errors(connection):
        settings = connection.for_kafka_python("consumer", {"enable_auto_commit": False})
        consumer = open_reachable(KafkaConsumer, connection, settings)
        try:
            found = consumer.partitions_for_topic(topic) or ()
            return partition_bounds(
                consumer, [TopicPartition(topic, partition) for partition in found]
            )
        finally:
            consumer.close()


class TopicOffsets(NamedTuple):
    """What Kafka holds of a partition, and where a time begins in it."""

    bounds: Bounds
    begins: int
    """The first offset of that time or later; the end of the log if there is none."""


def offsets_at(
    connection: KafkaConnection, topic: str, milliseconds: int
) -> Mapping[int, TopicOffsets]:
    """Return the offset of each partition at which the records of this Unix time begin."""
    with kafka_errors(connection):
        settings = connection.for_kafka_python("consumer", {"enable_auto_commit": False})
        consumer = open_reachable(KafkaConsumer, connection, settings)
        try:
            found = consumer.partitions_for_topic(topic) or ()
            places = [TopicPartition(topic, partition) for partition in found]
            bounds = partition_bounds(consumer, places)
            at = consumer.offsets_for_times(dict.fromkeys(places, milliseconds))
            begins = {place.partition: one.offset for place, one in at.items() if one}
            return {
                partition: TopicOffsets(bound, begins.get(partition, bound.end))
                for partition, bound in bounds.items()
            }
        finally:
            consumer.close()


class EpochEnd(NamedTuple):
    """The offset in a partition's log where a leader epoch ends."""

    leader_epoch: int
    """The wanted epoch if the log holds it, or if the log begins later; otherwise the one before
    it; NO_LEADER_EPOCH where the log's last epoch is lower."""
    offset: int


def epoch_end(
    connection: KafkaConnection, topic: str, partition: int, leader_epoch: int
) -> EpochEnd:
    """Query the partition's leader (OffsetForLeaderEpoch, KIP-320); takes 15 ms.

    kafka-python has no method for it, librdkafka no request.  Raises RetriableError.
    """
    place = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    wanted = place.OffsetForLeaderPartition(partition=partition, leader_epoch=leader_epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[place(topic=topic, partitions=[wanted])]
    )
    with admin_client(connection) as admin:
        found = describe_topic(admin, topic)
        partitions = found["partitions"] if found else ()
        leaders = {one["partition_index"]: one["leader_id"] for one in partitions}
        if leaders.get(partition, -1) < 0:
            raise LeaderNotAvailableError
        manager = admin._manager  # noqa: SLF001 - as the admin client itself sends
        answer = manager.run(manager.send, request, leaders[partition])
        (end,) = answer.topics[0].partitions
        if end.error_code:
            raise for_code(end.error_code)
    return EpochEnd(end.leader_epoch, end.end_offset)


def partition_bounds(consumer: KafkaConsumer, places: list[TopicPartition]) -> dict[int, Bounds]:
    first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
    return {place.partition: Bounds(first[place], end[place]) for place in places}
