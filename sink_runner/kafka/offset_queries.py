"""What Kafka is asked beside records, by kafka-python: is it there, and from where to where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, LeaderNotAvailableError, for_code
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from ..errors import RetriableError
from .access import check_access, failure
from .broker_check import answers
from .connection import KafkaConnection, open_client
from .feed import PING_SECONDS, Bounds


@contextmanager
def asking(connection: KafkaConnection) -> Iterator[None]:
    """Raise AccessError where Kafka refuses the client, RetriableError for all other errors."""
    try:
        yield
    except KafkaError as fault:
        raise failure(connection, fault) from fault


@contextmanager
def administration(connection: KafkaConnection) -> Iterator[KafkaAdminClient]:
    """A client for metadata, whose errors are raised as by `asking`."""
    with asking(connection):
        admin = open_client(KafkaAdminClient, connection.for_kafka_python("admin", {}))
        try:
            yield admin
        finally:
            admin.close()


def described(admin: KafkaAdminClient, topic: str) -> Mapping[str, Any] | None:
    """Ask for a topic's id and partitions; None where there is no such topic."""
    found = admin.describe_topics([topic])[0]
    kind = for_code(found.get("error_code") or 0)
    if issubclass(kind, AuthorizationError):
        raise kind
    return None if found.get("error_code") else cast("Mapping[str, Any]", found)


def bounds(connection: KafkaConnection, topic: str) -> Mapping[int, Bounds]:
    """Ask for all of a topic's partitions; RetriableError if Kafka does not answer."""
    with asking(connection):
        settings = connection.for_kafka_python("consumer", {"enable_auto_commit": False})
        consumer = open_client(KafkaConsumer, settings)
        try:
            found = consumer.partitions_for_topic(topic) or ()
            return _bounds(consumer, [TopicPartition(topic, partition) for partition in found])
        finally:
            consumer.close()


class EpochEnd(NamedTuple):
    """Where in a partition's log the first record of a later leader epoch stands, or its end."""

    leader_epoch: int
    """The one that was asked for if the log holds it, or if the log begins later; otherwise the one
    before it; NO_LEADER_EPOCH where the log's last epoch is lower."""
    offset: int


def epoch_end(
    connection: KafkaConnection, topic: str, partition: int, leader_epoch: int
) -> EpochEnd:
    """Ask the partition's leader (OffsetForLeaderEpoch, KIP-320); takes 15 ms.

    kafka-python has no method for it, librdkafka no request.  Raises RetriableError.
    """
    place = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    asked = place.OffsetForLeaderPartition(partition=partition, leader_epoch=leader_epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[place(topic=topic, partitions=[asked])]
    )
    with administration(connection) as admin:
        found = described(admin, topic)
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


class Asking:
    """What a feed by kafka-python asks."""

    _connection: KafkaConnection
    _topic: str
    _consumer: KafkaConsumer

    def bounds(self, partition: int) -> Bounds:
        with asking(self._connection):
            return _bounds(self._consumer, [TopicPartition(self._topic, partition)])[partition]

    def ping(self) -> None:
        """The leader of a partition that is ours; any broker, where none is."""
        some = [*self._consumer.assignment()][:1]
        if not some:
            self._ping_any()
        with asking(self._connection):
            self._consumer.end_offsets(some, timeout_ms=int(PING_SECONDS * 1000))

    def _ping_any(self) -> None:
        if self._connection.security.protocol != "PLAINTEXT":
            check_access(self._connection)
        elif not answers(self._connection, PING_SECONDS):
            raise RetriableError("Kafka does not answer")


def _bounds(consumer: KafkaConsumer, places: list[TopicPartition]) -> dict[int, Bounds]:
    first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
    return {place.partition: Bounds(first[place], end[place]) for place in places}
