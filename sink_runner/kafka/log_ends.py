"""Ask Kafka where the logs of topics end, without being a member of a group."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kafka import KafkaConsumer, TopicPartition

from .connection import KafkaConnection
from .feed import Bounds
from .offset_queries import kafka_errors, open_reachable, partition_bounds

_SETTINGS = {
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "isolation_level": "read_committed",
    "metrics_enabled": False,
    "request_timeout_ms": 10_000,
}


class LogEnds:
    """Keeps a connection to Kafka.  For one thread."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._consumer: KafkaConsumer | None = None

    def bounds(self, topics: Collection[str]) -> Mapping[str, Mapping[int, Bounds]]:
        """Return the bounds of each partition of the topics that exist.

        Raises AccessError or RetriableError; the next call then connects again.
        """
        try:
            with kafka_errors(self._connection):
                return {topic: self._bounds(topic) for topic in topics}
        except BaseException:
            self.close()
            raise

    def _bounds(self, topic: str) -> Mapping[int, Bounds]:
        if self._consumer is None:
            settings = self._connection.for_kafka_python("consumer", _SETTINGS)
            self._consumer = open_reachable(KafkaConsumer, self._connection, settings)
        partitions = self._consumer.partitions_for_topic(topic) or ()
        return partition_bounds(self._consumer, [TopicPartition(topic, one) for one in partitions])

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=2_000)
