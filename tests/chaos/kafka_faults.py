"""Faults of a topic: messages that cannot be decoded, and offsets without a record."""

import itertools
from collections.abc import Callable, Iterable

import psycopg
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from ..stack.deployment import wait_until
from .harness import Harness

_TOPIC, _OTHER_TOPIC = "smart_warehouse.public.golden_records", "smart_warehouse.public.profile_360"
# A runner without deferred events polls for discarded dead letters every 30 seconds.
_TIMEOUT_SECONDS = 60
_HEADER_BYTES = 5
_UNKNOWN_SCHEMA = bytes(1) + (0x7FFF_0001).to_bytes(4, "big")
_COUNT_UNDECODABLE = """SELECT count(*) FROM sink.dead_letter
WHERE status = ANY (%s) AND error_class = 'DecodeError'"""
_RESOLVED = ("DISCARDED", "SUPERSEDED")
_DISCARD = "UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE status = 'OPEN'"
_TRANSACTION_NUMBERS = itertools.count()


def send_undecodable(harness: Harness) -> None:
    """Send bytes that are not Avro, and a truncated envelope, with the key of an existing row."""
    _send_corrupted(harness, lambda _, value: [b"\xff\xfe poison", value[: len(value) // 2]])


def send_wrong_schema_ids(harness: Harness) -> None:
    """Send a value with an unknown schema id, with its key's, and with another table's."""
    _, other, _ = _read_record(harness, _OTHER_TOPIC)
    _send_corrupted(
        harness,
        lambda key, value: [
            _with_schema_of(message, value) for message in (_UNKNOWN_SCHEMA, key, other)
        ],
    )


def _with_schema_of(other: bytes, value: bytes) -> bytes:
    assert other[:_HEADER_BYTES] != value[:_HEADER_BYTES]
    return other[:_HEADER_BYTES] + value[_HEADER_BYTES:]


def _send_corrupted(harness: Harness, corrupt: Callable[[bytes, bytes], list[bytes]]) -> None:
    """Send the values that `corrupt` makes of a record, and discard their dead letters.

    A later change of the same key has the whole row: it supersedes the dead letter and is not
    deferred behind it.
    """
    citizen, (key, value, partition) = harness.deployment.citizen, _read_record(harness)
    corrupted, before = corrupt(key, value), _count_undecodable(citizen, *_RESOLVED)
    read_log = harness.capture_log()
    last = _send(harness, key, corrupted, partition)
    harness.update_golden_records()
    are_applied = wait_until(
        lambda: harness.deployment.stored_offsets()[_TOPIC, partition] > last + 1, _TIMEOUT_SECONDS
    )
    assert are_applied, "the valid rows after the corrupted ones were not applied"
    assert _count_undecodable(citizen, "OPEN", *_RESOLVED) == before + len(corrupted)

    def discard_all() -> bool:
        citizen.execute(_DISCARD)
        return _count_undecodable(citizen, *_RESOLVED) == before + len(corrupted)

    assert wait_until(discard_all, _TIMEOUT_SECONDS), (
        "not every corrupted message became a dead letter"
    )
    paused = [line for line in read_log().splitlines() if '"event": "mapping_paused"' in line]
    assert not [line for line in paused if '"mapping": "golden-records"' in line]


def _count_undecodable(connection: psycopg.Connection, *statuses: str) -> int:
    ((count,),) = connection.execute(_COUNT_UNDECODABLE, (list(statuses),)).fetchall()
    return int(count)


def leave_offset_gap(harness: Harness) -> None:
    """Abort a transaction: consumers skip its records, so their offsets are missing.

    Repeat this with a new runner, which uses the other Kafka client.
    """
    for _ in range(2):
        _abort_transactions(harness)
        harness.update_golden_records()
        assert wait_until(lambda: harness.deployment.lag() == 0, _TIMEOUT_SECONDS)
        harness.kill_runner()
        harness.ensure_runner()


def _abort_transactions(harness: Harness) -> None:
    key, value, _ = _read_record(harness)
    name = f"chaos-{next(_TRANSACTION_NUMBERS)}"
    producer = Producer({"bootstrap.servers": harness.stack.kafka, "transactional.id": name})
    producer.init_transactions(_TIMEOUT_SECONDS)
    for partition in sorted(_find_partitions(harness)):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(_TOPIC, value=value[:-1], key=key, partition=partition)
        producer.flush(_TIMEOUT_SECONDS)
        producer.abort_transaction(_TIMEOUT_SECONDS)


def delete_applied_records(harness: Harness) -> None:
    """Delete the records that have been applied from the topic, then restart the runner."""
    applied = {
        TopicPartition(topic, partition): offset
        for (topic, partition), offset in harness.deployment.stored_offsets().items()
        if topic == _TOPIC
    }
    assert applied
    admin = KafkaAdminClient(bootstrap_servers=harness.stack.kafka)
    try:
        admin.delete_records(applied)
    finally:
        admin.close()
    harness.kill_runner()
    harness.ensure_runner()


def _read_record(harness: Harness, topic: str = _TOPIC) -> tuple[bytes, bytes, int]:
    """Return key, value and partition of an event that Debezium published."""
    harness.update_golden_records()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=harness.stack.kafka, auto_offset_reset="earliest"
    )
    try:
        event = next(
            (record.key, record.value, record.partition)
            for polled in iter(lambda: consumer.poll(timeout_ms=500), None)
            for records in polled.values()
            for record in records
            if record.value
        )
    finally:
        consumer.close()
    return event


def _find_partitions(harness: Harness) -> set[int]:
    consumer = KafkaConsumer(bootstrap_servers=harness.stack.kafka)
    try:
        return set(consumer.partitions_for_topic(_TOPIC) or ())
    finally:
        consumer.close()


def _send(harness: Harness, key: bytes, values: Iterable[bytes], partition: int) -> int:
    """Send the values with this key and return the last offset."""
    producer, offsets = Producer({"bootstrap.servers": harness.stack.kafka}), []
    for value in values:
        producer.produce(
            _TOPIC,
            value=value,
            key=key,
            partition=partition,
            on_delivery=lambda _, message: offsets.append(message.offset()),
        )
    assert producer.flush(_TIMEOUT_SECONDS) == 0
    return max(offsets)
