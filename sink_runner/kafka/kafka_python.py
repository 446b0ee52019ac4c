"""A feed by kafka-python, which is always installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ..errors import RetriableError, SinkError
from ..model.message import Message
from .broker_check import check_access, is_reachable
from .connection import KafkaConnection, open_client
from .feed import PING_SECONDS, Bounds
from .offset_queries import kafka_errors, partition_bounds
from .record_size import FETCHED_BYTES, PARTITION_FETCH_BYTES

# The settings of kafka-python whose default is not suitable.
_SETTINGS: Mapping[str, Any] = {
    "enable_auto_commit": False,
    # Only applies until the worker has sought.
    "auto_offset_reset": "earliest",
    "allow_auto_create_topics": False,
    "isolation_level": "read_committed",  # records of an aborted transaction are not read
    "fetch_max_bytes": FETCHED_BYTES,
    # A poll returns the records of one fetch of one partition: as many as a whole batch.
    "max_partition_fetch_bytes": PARTITION_FETCH_BYTES,
    "metrics_enabled": False,
}


class KafkaPythonFeed:
    """A feed by the client that needs no extra."""

    def __init__(
        self, connection: KafkaConnection, group: str, topic: str, *, max_records: int
    ) -> None:
        self._connection, self._topic = connection, topic
        names = {"group_id": group, "client_id": group, "max_poll_records": max_records}
        settings = connection.for_kafka_python("consumer", {**names, **_SETTINGS})
        with kafka_errors(connection):
            self._consumer = open_client(KafkaConsumer, settings)
        try:
            # A group's leader that joins before it knows the topic's partitions hands out none,
            # and looks again only when its metadata is minutes old.
            with kafka_errors(connection):
                self._consumer.partitions_for_topic(topic)
                self._consumer.subscribe([topic])
        except SinkError:
            self.close()
            raise

    def poll(self, seconds: float) -> Mapping[int, Sequence[Message]]:
        with kafka_errors(self._connection):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000))
        # A ConsumerRecord has all that a Message has; copying each would cost as much as a mask.
        return {place.partition: records for place, records in polled.items()}

    def keep_alive(self) -> None:
        self._consumer.pause(*self._consumer.assignment())
        try:
            with kafka_errors(self._connection):
                self._consumer.poll(timeout_ms=0)
        finally:
            self._consumer.resume(*self._consumer.paused())

    def assignment(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def seek(self, partition: int, offset: int | None) -> None:
        place = TopicPartition(self._topic, partition)
        if offset is None:
            self._consumer.seek_to_beginning(place)
        else:
            self._consumer.seek(place, offset)

    def bounds(self, partition: int) -> Bounds:
        with kafka_errors(self._connection):
            place = TopicPartition(self._topic, partition)
            return partition_bounds(self._consumer, [place])[partition]

    def ping(self) -> None:
        """Query the leader of an assigned partition, or connect to any broker."""
        some = [*self._consumer.assignment()][:1]
        if not some:
            self._ping_any()
        with kafka_errors(self._connection):
            self._consumer.end_offsets(some, timeout_ms=int(PING_SECONDS * 1000))

    def _ping_any(self) -> None:
        if self._connection.security.protocol != "PLAINTEXT":
            check_access(self._connection)
        elif not is_reachable(self._connection, PING_SECONDS):
            raise RetriableError("Kafka does not answer")

    def mirror(self, offsets: Mapping[int, int]) -> None:
        assigned = self.assignment()
        known = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
            if partition in assigned
        }
        if known:
            with suppress(KafkaError):
                self._consumer.commit_async(known)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=2_000)
