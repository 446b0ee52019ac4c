"""From where to where Kafka holds a topic's partitions."""

from __future__ import annotations

from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition

from .feed import Bounds
from .kafka_python import asking


def bounds(bootstrap: str, topic: str) -> Mapping[int, Bounds]:
    """Ask Kafka, by partition; RetriableError if it does not answer."""
    with asking():
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        try:
            found = consumer.partitions_for_topic(topic) or ()
            places = [TopicPartition(topic, partition) for partition in found]
            first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
        finally:
            consumer.close()
    return {place.partition: Bounds(first[place], end[place]) for place in places}
