"""What Kafka is asked beside records, by kafka-python: is it there, and from where to where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, LeaderNotAvailableError, for_code
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from ..errors import RetriableError
from .feed import PING_SECONDS, Bounds
from .reachable import answers


@contextmanager
def asking() -> Iterator[None]:
    """Whatever Kafka refuses may be mended by a person or by time; no record is at fault."""
    try:
        yield
    except KafkaError as fault:
        raise RetriableError(f"Kafka does not answer: {type(fault).__name__}") from fault


def bounds(bootstrap: str, topic: str) -> Mapping[int, Bounds]:
    """Ask for all of a topic's partitions; RetriableError if Kafka does not answer."""
    with asking():
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
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


def epoch_end(bootstrap: str, topic: str, partition: int, leader_epoch: int) -> EpochEnd:
    """Ask the partition's leader (OffsetForLeaderEpoch, KIP-320); takes 15 ms.

    kafka-python has no method for it, librdkafka no request.  Raises RetriableError.
    """
    place = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    asked = place.OffsetForLeaderPartition(partition=partition, leader_epoch=leader_epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[place(topic=topic, partitions=[asked])]
    )
    with asking():
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            found = admin.describe_topics([topic])[0]["partitions"]
            leaders = {one["partition_index"]: one["leader_id"] for one in found}
            if leaders.get(partition, -1) < 0:
                raise LeaderNotAvailableError
            manager = admin._manager  # noqa: SLF001 - as the admin client itself sends
            answer = manager.run(manager.send, request, leaders[partition])
        finally:
            admin.close()
        (end,) = answer.topics[0].partitions
        if end.error_code:
            raise for_code(end.error_code)
    return EpochEnd(end.leader_epoch, end.end_offset)


class Asking:
    """What a feed by kafka-python asks."""

    _bootstrap: str
    _topic: str
    _consumer: KafkaConsumer

    def bounds(self, partition: int) -> Bounds:
        return _bounds(self._consumer, [TopicPartition(self._topic, partition)])[partition]

    def ping(self) -> None:
        """The leader of a partition that is ours; any broker, where none is."""
        some = [*self._consumer.assignment()][:1]
        if not (some or answers(self._bootstrap, PING_SECONDS)):
            raise RetriableError("Kafka does not answer")
        with asking():
            self._consumer.end_offsets(some, timeout_ms=int(PING_SECONDS * 1000))


def _bounds(consumer: KafkaConsumer, places: list[TopicPartition]) -> dict[int, Bounds]:
    with asking():
        first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
    return {place.partition: Bounds(first[place], end[place]) for place in places}
