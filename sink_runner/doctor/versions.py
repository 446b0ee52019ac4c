"""The versions of Kafka and Debezium, as far as a client can know them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO

from fastavro import schemaless_reader
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from ..avro.compile import HEADER
from ..avro.decoder import schema_id_of
from ..avro.schema_cache import SchemaCache
from ..errors import SinkError
from ..kafka.connection import KafkaConnection
from ..kafka.feed import Bounds
from ..kafka.log_ends import LogEnds
from ..kafka.offset_queries import admin_client, kafka_errors, open_reachable
from .deployment import Deployment

_LAST_RECORDS = 5
"""The last ones may be tombstones, or markers of a transaction."""
_SECONDS = 2


def service_versions(deployment: Deployment) -> str:
    """Return the versions that are known, for a line of the report."""
    found = []
    for read in (kafka_version, debezium_version):
        with suppress(SinkError, KafkaError, LookupError, ValueError, TypeError):
            found.append(read(deployment))
    return ", ".join(found)


def kafka_version(deployment: Deployment) -> str:
    """Return the version that the requests imply which a broker understands."""
    with admin_client(deployment.kafka) as admin:
        broker = admin.describe_cluster()["brokers"][0]["broker_id"]
        version = admin.get_broker_version_data(broker).broker_version
    return f"Kafka {'.'.join(map(str, version))}"


def debezium_version(deployment: Deployment) -> str:
    """Return the version of Debezium that the last event of a topic names."""
    schemas = SchemaCache(deployment.config.registry)
    topics = [mapping.source_table.topic for mapping in deployment.streaming.values()]
    for value in last_values(deployment.kafka, topics):
        schema = schemas.schema(schema_id_of(value))
        event = schemaless_reader(BytesIO(value[HEADER:]), schema, None)
        return f"Debezium {event['source']['version']}"  # type: ignore[index,call-overload]
    raise LookupError


def last_values(connection: KafkaConnection, topics: list[str]) -> Iterator[bytes]:
    """Yield a late value of each topic that has one."""
    ends = LogEnds(connection)
    try:
        bounds = ends.bounds(topics)
    finally:
        ends.close()
    with kafka_errors(connection):
        settings = connection.for_kafka_python("consumer", {"enable_auto_commit": False})
        consumer = open_reachable(KafkaConsumer, connection, settings)
        try:
            for topic, partitions in bounds.items():
                yield from _late_value(consumer, topic, partitions)
        finally:
            consumer.close(autocommit=False, timeout_ms=_SECONDS * 1000)


def _late_value(
    consumer: KafkaConsumer, topic: str, partitions: Mapping[int, Bounds]
) -> Iterator[bytes]:
    for partition, bounds in partitions.items():
        if bounds.first == bounds.end:
            continue
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        consumer.seek(place, max(bounds.first, bounds.end - _LAST_RECORDS))
        records = consumer.poll(timeout_ms=_SECONDS * 1000).get(place, [])
        for record in reversed(records):
            if record.value is not None:
                yield record.value
                return
