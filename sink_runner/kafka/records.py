"""Read records of a topic at given offsets, without being a member of a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from ..errors import RetriableError
from ..model.message import Message
from .connection import KafkaConnection
from .feed import Bounds
from .offset_queries import kafka_errors, open_reachable, partition_bounds

_SETTINGS = {
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "metrics_enabled": False,
}
_SILENT_SECONDS = 10.0
"""How long Kafka may send nothing before the wait for a record ends."""


class Records:
    """Reads records and commits no offset.  For one thread."""

    def __init__(self, connection: KafkaConnection, consumer: KafkaConsumer) -> None:
        self._connection = connection
        self._consumer = consumer

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """Return the bounds of each partition; empty if there is no such topic."""
        with kafka_errors(self._connection):
            found = self._consumer.partitions_for_topic(topic) or ()
            return partition_bounds(
                self._consumer, [TopicPartition(topic, partition) for partition in found]
            )

    def offsets_since(self, topic: str, since: datetime) -> Mapping[int, int]:
        """Return the first offset of each partition whose record is not older than a time."""
        with kafka_errors(self._connection):
            places = [
                TopicPartition(topic, partition)
                for partition in self._consumer.partitions_for_topic(topic) or ()
            ]
            wanted = dict.fromkeys(places, int(since.timestamp() * 1000))
            found = self._consumer.offsets_for_times(wanted)
            ends = self._consumer.end_offsets(places)
        return {
            place.partition: found[place].offset if found.get(place) else ends[place]
            for place in places
        }

    def read(self, topic: str, partition: int, offset: int) -> Message | None:
        """Return the record at an offset; None if compaction has removed it."""
        return next(self.scan(topic, partition, offset, offset + 1), None)

    def scan(self, topic: str, partition: int, first: int, end: int) -> Iterator[Message]:
        """Yield the records from an offset to another one, exclusive.

        The offsets must be within the partition's bounds.
        """
        place = TopicPartition(topic, partition)
        with kafka_errors(self._connection):
            self._consumer.assign([place])
            self._consumer.seek(place, first)
            deadline, at = time.monotonic() + _SILENT_SECONDS, first
            while at < end:
                for record in self._consumer.poll(timeout_ms=500).get(place, ()):
                    if record.offset < end:
                        yield _message(record)
                # Compacted records and the marks of transactions have offsets as well.
                passed, at = at, self._consumer.position(place)
                if at > passed:
                    deadline = time.monotonic() + _SILENT_SECONDS
                elif time.monotonic() > deadline:
                    raise RetriableError(
                        f"Kafka sends no record of topic {topic!r}, partition {partition}, from "
                        f"offset {at} on"
                    )


@contextmanager
def open_records(connection: KafkaConnection) -> Iterator[Records]:
    """Open a consumer without a group.  Raises AccessError and RetriableError."""
    with kafka_errors(connection):
        settings = connection.for_kafka_python("consumer", _SETTINGS)
        consumer = open_reachable(KafkaConsumer, connection, settings)
    try:
        yield Records(connection, consumer)
    finally:
        consumer.close(autocommit=False, timeout_ms=2_000)


def _message(record: Any) -> Message:
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers or (),
        record.leader_epoch,
        record.timestamp,
    )
