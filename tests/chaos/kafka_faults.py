"""What may be wrong with a topic: messages that nobody can read, and offsets without a record."""

import itertools
from collections.abc import Callable, Iterable

import psycopg
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from ..stack.arena import until
from .ground import Ground

_TOPIC, _OTHER = "smart_warehouse.public.golden_records", "smart_warehouse.public.profile_360"
# A decision about a dead letter is noticed after half a minute where nothing waited before.
_SECONDS = 60
_HEADER = 5
_NOBODY_S = bytes(1) + (0x7FFF_0001).to_bytes(4, "big")
_UNREADABLE = """SELECT count(*) FROM sink.dead_letter
WHERE status = ANY (%s) AND error_class = 'DecodeError'"""
_SETTLED = ("DISCARDED", "SUPERSEDED")
_DISCARD = "UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE status = 'OPEN'"
_TRANSACTIONS = itertools.count()


def poison(ground: Ground) -> None:
    """Under the key of a real row: no Avro at all, and an envelope that is cut off."""
    _spoil(ground, lambda _, value: [b"\xff\xfe poison", value[: len(value) // 2]])


def corrupt_schema_ids(ground: Ground) -> None:
    """The id has become one that nobody knows, the key's own, and that of another table's rows."""
    _, other, _ = _record(ground, _OTHER)
    _spoil(
        ground,
        lambda key, value: [_with_schema_of(one, value) for one in (_NOBODY_S, key, other)],
    )


def _with_schema_of(other: bytes, value: bytes) -> bytes:
    assert other[:_HEADER] != value[:_HEADER]
    return other[:_HEADER] + value[_HEADER:]


def _spoil(ground: Ground, made: Callable[[bytes, bytes], list[bytes]]) -> None:
    """Send what `made` makes of a record; discard the dead letters that come of it, one by one.

    Real changes of the same key are whole rows: they do not wait, and supersede a dead letter.
    """
    citizen, (key, value, partition) = ground.arena.citizen, _record(ground)
    spoilt, before, said = made(key, value), _unreadable(citizen, *_SETTLED), ground.listen()
    last = _send(ground, key, spoilt, partition)
    ground.touch()
    beyond = until(lambda: ground.arena.partitions()[_TOPIC, partition] > last + 1, _SECONDS)
    assert beyond, "the good rows behind it did not go on"
    assert _unreadable(citizen, "OPEN", *_SETTLED) == before + len(spoilt)

    def all_settled() -> bool:
        citizen.execute(_DISCARD)
        return _unreadable(citizen, *_SETTLED) == before + len(spoilt)

    assert until(all_settled, _SECONDS), "no dead letter"
    paused = [line for line in said().splitlines() if '"event": "mapping_paused"' in line]
    assert not [line for line in paused if '"mapping": "golden-records"' in line]


def _unreadable(connection: psycopg.Connection, *statuses: str) -> int:
    """How many dead letters of messages that can't be decoded."""
    ((count,),) = connection.execute(_UNREADABLE, (list(statuses),)).fetchall()
    return int(count)


def leave_gap(ground: Ground) -> None:
    """Records of a transaction that is rolled back: nobody reads them, and offsets are missing.

    Two runners after each other meet it: one with each client of Kafka.
    """
    for _ in range(2):
        _roll_back(ground)
        ground.touch()
        assert until(lambda: ground.arena.waiting() == 0, _SECONDS)
        ground.kill_runner()
        ground.runner()


def _roll_back(ground: Ground) -> None:
    key, value, _ = _record(ground)
    name = f"chaos-{next(_TRANSACTIONS)}"
    producer = Producer({"bootstrap.servers": ground.stack.kafka, "transactional.id": name})
    producer.init_transactions(_SECONDS)
    for partition in sorted(_partitions(ground)):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(_TOPIC, value=value[:-1], key=key, partition=partition)
        producer.flush(_SECONDS)
        producer.abort_transaction(_SECONDS)


def delete_behind(ground: Ground) -> None:
    """What every target has applied already is deleted from the topic."""
    applied = {
        TopicPartition(topic, partition): offset
        for (topic, partition), offset in ground.arena.partitions().items()
        if topic == _TOPIC
    }
    assert applied
    admin = KafkaAdminClient(bootstrap_servers=ground.stack.kafka)
    try:
        admin.delete_records(applied)
    finally:
        admin.close()
    ground.kill_runner()
    ground.runner()


def _record(ground: Ground, topic: str = _TOPIC) -> tuple[bytes, bytes, int]:
    """The key and value of a real change, and its partition."""
    ground.touch()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=ground.stack.kafka, auto_offset_reset="earliest"
    )
    try:
        found = next(
            (record.key, record.value, record.partition)
            for polled in iter(lambda: consumer.poll(timeout_ms=500), None)
            for records in polled.values()
            for record in records
            if record.value
        )
    finally:
        consumer.close()
    return found


def _partitions(ground: Ground) -> set[int]:
    consumer = KafkaConsumer(bootstrap_servers=ground.stack.kafka)
    try:
        return set(consumer.partitions_for_topic(_TOPIC) or ())
    finally:
        consumer.close()


def _send(ground: Ground, key: bytes, values: Iterable[bytes], partition: int) -> int:
    """Returns the offset of the last one."""
    producer, offsets = Producer({"bootstrap.servers": ground.stack.kafka}), []
    for value in values:
        producer.produce(
            _TOPIC,
            value=value,
            key=key,
            partition=partition,
            on_delivery=lambda _, message: offsets.append(message.offset()),
        )
    assert producer.flush(_SECONDS) == 0
    return max(offsets)
