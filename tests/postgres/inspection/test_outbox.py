"""The outbox publishes every dead letter to its topic, encrypted, despite failures."""

import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from sink_runner.dlq import producer as producer_module
from sink_runner.dlq.outbox import Outbox
from sink_runner.dlq.producer import Producer
from sink_runner.dlq.record import Record, record_of
from sink_runner.dlq.stored_dead_letters import Wanted, find
from sink_runner.errors import AccessError, RetriableError
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.model.status import Health

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"


class FakeProducer:
    """A producer that keeps the records it is sent, and rejects those of some topics."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.rejected_topics: set[str] = set()
        self.rejection: Exception = RetriableError("not now")
        self.dies_after_sending = False

    def send(self, records: Sequence[Record]) -> None:
        if self.rejected_topics.intersection(record.topic for record in records):
            raise self.rejection
        self.records += records
        if self.dies_after_sending:
            raise RuntimeError("the process ends here")

    def close(self) -> None:
        """There is nothing to close."""

    def attempts(self) -> list[tuple[int, int]]:
        """Return the id and the number of attempts of each record's dead letter."""
        headers = [dict(record.headers) for record in self.records]
        return [
            (int(one["sink.dlq-id"].split(b"/")[1]), int(one["sink.attempts"])) for one in headers
        ]


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def outbox(harness: Any, producer: FakeProducer, health: Health) -> Iterator[Outbox]:
    gauge = health.gauge("unpublished", "Dead letters.", ("database", "source"))
    opened = Outbox(harness.database, harness.dsn, producer, gauge)
    yield opened
    opened.close()


def unpublished(health: Health, harness: Any) -> float | None:
    labels = {"database": harness.database, "source": harness.database}
    return health.registry.get_sample_value("unpublished", labels)


def test_dead_letter_is_published_once_with_metadata(
    harness: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    harness.send(harness.event(1, "bad", full_name=SECRET))
    assert [outbox.publish(), outbox.publish()] == [1, 0]
    (record,) = producer.records
    headers = {name: value.decode() for name, value in record.headers}
    assert record.topic == f"sink.dead-letters.{harness.database}-to-{harness.database}"
    assert headers.pop("__connect.errors.exception.stacktrace").startswith("sink_runner.errors.")
    assert headers == {
        "__connect.errors.topic": harness.topic,
        "__connect.errors.partition": "0",
        "__connect.errors.offset": "1",
        "__connect.errors.connector.name": "sink.people",
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": "TASK_PUT",
        "__connect.errors.class.name": "sink_runner.writer.writer.Writer",
        "__connect.errors.exception.class.name": "sink_runner.errors.WriteError",
        "__connect.errors.exception.message": harness.dead_letters("error_message")[0],
        "sink.mapping": "people",
        "sink.plugin-version": "1.5",
        "sink.key-id": "one",
        "sink.dlq-id": harness.id(),
        "sink.sqlstate": "23514",
        "sink.attempts": "0",
        "sink.status": "OPEN",
    }


def test_published_payload_is_decrypted_by_its_headers(
    harness: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    event = harness.event(1, "bad", full_name=SECRET)
    harness.send(event)
    outbox.publish()
    (record,) = producer.records
    assert SECRET.encode() not in record.value + record.key
    headers = dict(record.headers)
    position = [
        headers[f"__connect.errors.{name}"].decode() for name in ("topic", "partition", "offset")
    ]
    topic, partition, offset = position[0], int(position[1]), int(position[2])
    decrypted = harness.encryptor.decrypt(record.value, topic, partition, offset)
    assert decrypted.value == event.value
    assert record.key == harness.encryptor.fingerprint(event.key)


def test_deferred_event_is_not_published(harness: Any, outbox: Outbox) -> None:
    harness.send(harness.event(1, district="Nowhere"))
    harness.send(harness.event(1))
    assert harness.dead_letters("status") == ["PARKED", "PARKED"]
    assert outbox.publish() == 0


def test_failure_after_replay_is_published_again(
    harness: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    harness.send(harness.event(1, "bad"))
    outbox.publish()
    harness.dlq("replay", harness.id())
    harness.retry()
    outbox.publish()
    harness.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    harness.dlq("replay", harness.id())
    harness.retry()
    assert harness.dead_letters("status") == ["REPLAYED"]
    outbox.publish()
    (number,) = harness.dead_letters("dlq_id")
    assert producer.attempts() == [(number, 0), (number, 1)]


def test_superseded_dead_letter_is_published_again(
    superseding: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    superseding.send(superseding.event(1, "bad"))
    outbox.publish()
    superseding.send(superseding.event(1, "b"))
    assert [outbox.publish(), outbox.publish()] == [1, 0]
    assert [dict(record.headers)["sink.status"] for record in producer.records] == [
        b"OPEN",
        b"SUPERSEDED",
    ]


def test_superseded_deferred_event_is_not_published(superseding: Any, outbox: Outbox) -> None:
    superseding.send(superseding.event(1, district="Nowhere"))
    superseding.send(superseding.event(1, "b"))
    assert superseding.dead_letters("status") == ["SUPERSEDED"]
    assert outbox.publish() == 0


def test_discarded_dead_letter_is_published_too(
    harness: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    harness.send(harness.event(1, "bad"))
    harness.dlq("discard", harness.id(), "--reason", "made up")
    assert outbox.publish() == 1


def test_outage_only_delays_publication(
    harness: Any, outbox: Outbox, producer: FakeProducer, health: Health
) -> None:
    topic = f"sink.dead-letters.{harness.database}-to-{harness.database}"
    producer.rejected_topics = {topic}
    harness.send(harness.event(1, "bad"))
    with pytest.raises(RetriableError):
        outbox.publish()
    assert unpublished(health, harness) == 1
    producer.rejected_topics = set()
    assert outbox.publish() == 1
    assert unpublished(health, harness) == 0


@pytest.mark.parametrize("kind", [RetriableError, AccessError])
def test_missing_topic_does_not_delay_others(
    harness: Any, outbox: Outbox, producer: FakeProducer, kind: type[Exception]
) -> None:
    producer.rejection = kind("not now")
    harness.send(harness.event(1, "bad"))
    harness.send(harness.event(2, "bad"))
    harness.admin.execute(
        "UPDATE sink.dead_letter SET topic = 'elsewhere.a.b' WHERE \"offset\" = 1"
    )
    producer.rejected_topics = {f"sink.dead-letters.elsewhere-to-{harness.database}"}
    with pytest.raises(kind):
        outbox.publish()
    assert len(producer.records) == 1


def test_crash_after_sending_publishes_again(
    harness: Any, outbox: Outbox, producer: FakeProducer
) -> None:
    harness.send(harness.event(1, "bad"))
    producer.dies_after_sending = True
    with pytest.raises(RuntimeError):
        outbox.publish()
    producer.dies_after_sending = False
    assert outbox.publish() == 1
    assert producer.attempts()[0] == producer.attempts()[1]


def test_two_runners_send_each_dead_letter_once(
    harness: Any, producer: FakeProducer, health: Health
) -> None:
    for number in range(250):
        harness.send(harness.event(number, "bad"))
    gauge = health.gauge("unpublished", "Dead letters.", ("database", "source"))
    outboxes = [Outbox(harness.database, harness.dsn, producer, gauge) for _ in range(3)]
    threads = [threading.Thread(target=outbox.publish) for outbox in outboxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outboxes[0].publish()
    for outbox in outboxes:
        outbox.close()
    assert sorted(producer.attempts()) == [
        (number, 0) for number in sorted(harness.dead_letters("dlq_id"))
    ]


class RejectingProducer:
    """A kafka-python producer that rejects records with a value as too large."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, topic: str, *, key: Any, value: Any, headers: Any) -> Any:
        self.sent.append((topic, value))
        error = MessageSizeTooLargeError() if value else None

        def get(timeout: float) -> None:
            if error:
                raise error

        return SimpleNamespace(get=get)


def test_rejected_dead_letter_is_sent_without_value(harness: Any) -> None:
    producer = Producer(KafkaConnection("127.0.0.1:1"))
    producer._producer = rejecting = RejectingProducer()
    producer.send([Record("sink.dead-letters.a-to-b", b"k", b"value", [("sink.dlq-id", b"1")])])
    assert rejecting.sent == [
        ("sink.dead-letters.a-to-b", b"value"),
        ("sink.dead-letters.a-to-b", None),
    ]


def test_settings_of_producer_are_known_to_client(monkeypatch: Any) -> None:
    """kafka-python raises an error for an unknown setting."""
    passed: dict[str, Any] = {}
    monkeypatch.setattr(producer_module, "is_reachable", lambda *_: True)
    monkeypatch.setattr(
        producer_module, "KafkaProducer", lambda **settings: passed.update(settings)
    )
    Producer(KafkaConnection("127.0.0.1:1")).send([])
    assert passed
    assert passed.keys() <= KafkaProducer.DEFAULT_CONFIG.keys()


def test_too_large_value_is_left_out(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    with psycopg.connect(harness.dsn, autocommit=True) as connection:
        (dead_letter,) = find(connection, Wanted(), most=1)
    record = record_of(dead_letter, "t").without_value()
    assert record.value is None
    assert ("sink.too-large", b"true") in record.headers


def test_unavailable_kafka_is_reported_soon() -> None:
    producer, began = Producer(KafkaConnection("127.0.0.1:9")), time.monotonic()
    for _ in range(2):
        with pytest.raises(RetriableError, match="Kafka does not answer"):
            producer.send([Record("t", None, b"encrypted", ())])
    producer.close()
    assert time.monotonic() - began < 15
