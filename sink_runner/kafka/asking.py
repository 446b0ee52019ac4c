"""What Kafka is asked beside records, by kafka-python: is it there, and from where to where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

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
