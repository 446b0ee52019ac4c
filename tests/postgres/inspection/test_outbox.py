"""The topics of the dead letters: every one is told of, none in clear, whatever dies."""

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


class Log:
    """A Kafka that keeps what it takes, and takes nothing of some topics."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refuses: set[str] = set()
        self.refusal: Exception = RetriableError("not now")
        self.dies_after_sending = False

    def send(self, records: Sequence[Record]) -> None:
        if self.refuses.intersection(record.topic for record in records):
            raise self.refusal
        self.records += records
        if self.dies_after_sending:
            raise RuntimeError("the process ends here")

    def close(self) -> None:
        """Nothing is open."""

    def ids(self) -> list[tuple[int, int]]:
        """The letters' numbers and tries."""
        heads = [dict(record.headers) for record in self.records]
        return [
            (int(head["sink.dlq-id"].split(b"/")[1]), int(head["sink.attempts"])) for head in heads
        ]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def outbox(office: Any, log: Log, health: Health) -> Iterator[Outbox]:
    gauge = health.gauge("unpublished", "Letters.", ("database", "source"))
    made = Outbox(office.database, office.dsn, log, gauge)
    yield made
    made.close()


def left(health: Health, office: Any) -> float | None:
    labels = {"database": office.database, "source": office.database}
    return health.registry.get_sample_value("unpublished", labels)


def test_dead_letter_is_published_once_with_metadata(office: Any, outbox: Outbox, log: Log) -> None:
    office.send(office.event(1, "bad", full_name=SECRET))
    assert [outbox.publish(), outbox.publish()] == [1, 0]
    (record,) = log.records
    heads = {name: value.decode() for name, value in record.headers}
    assert record.topic == f"sink.dead-letters.{office.database}-to-{office.database}"
    assert heads.pop("__connect.errors.exception.stacktrace").startswith("sink_runner.errors.")
    assert heads == {
        "__connect.errors.topic": office.topic,
        "__connect.errors.partition": "0",
        "__connect.errors.offset": "1",
        "__connect.errors.connector.name": "sink.people",
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": "TASK_PUT",
        "__connect.errors.class.name": "sink_runner.writer.writer.Writer",
        "__connect.errors.exception.class.name": "sink_runner.errors.WriteError",
        "__connect.errors.exception.message": office.dead_letters("error_message")[0],
        "sink.mapping": "people",
        "sink.plugin-version": "1.5",
        "sink.key-id": "one",
        "sink.dlq-id": office.id(),
        "sink.sqlstate": "23514",
        "sink.attempts": "0",
        "sink.status": "OPEN",
    }


def test_published_payload_is_decrypted_by_its_headers(
    office: Any, outbox: Outbox, log: Log
) -> None:
    event = office.event(1, "bad", full_name=SECRET)
    office.send(event)
    outbox.publish()
    (record,) = log.records
    assert SECRET.encode() not in record.value + record.key
    heads = dict(record.headers)
    place = [
        heads[f"__connect.errors.{name}"].decode() for name in ("topic", "partition", "offset")
    ]
    opened = office.encryptor.decrypt(record.value, place[0], int(place[1]), int(place[2]))
    assert opened.value == event.value
    assert record.key == office.encryptor.fingerprint(event.key)


def test_what_only_waits_is_no_dead_letter(office: Any, outbox: Outbox) -> None:
    office.send(office.event(1, district="Nowhere"))
    office.send(office.event(1))
    assert office.dead_letters("status") == ["PARKED", "PARKED"]
    assert outbox.publish() == 0


def test_failure_after_replay_is_published_again(office: Any, outbox: Outbox, log: Log) -> None:
    office.send(office.event(1, "bad"))
    outbox.publish()
    office.dlq("replay", office.id())
    office.retry()
    outbox.publish()
    office.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    office.dlq("replay", office.id())
    office.retry()
    assert office.dead_letters("status") == ["REPLAYED"]
    outbox.publish()
    (number,) = office.dead_letters("dlq_id")
    assert log.ids() == [(number, 0), (number, 1)]


def test_one_that_is_superseded_is_told_once_more(replacing: Any, outbox: Outbox, log: Log) -> None:
    replacing.send(replacing.event(1, "bad"))
    outbox.publish()
    replacing.send(replacing.event(1, "b"))
    assert [outbox.publish(), outbox.publish()] == [1, 0]
    assert [dict(record.headers)["sink.status"] for record in log.records] == [
        b"OPEN",
        b"SUPERSEDED",
    ]


def test_waiting_one_that_is_superseded_is_not_told(replacing: Any, outbox: Outbox) -> None:
    replacing.send(replacing.event(1, district="Nowhere"))
    replacing.send(replacing.event(1, "b"))
    assert replacing.dead_letters("status") == ["SUPERSEDED"]
    assert outbox.publish() == 0


def test_settled_dead_letter_is_published_too(office: Any, outbox: Outbox, log: Log) -> None:
    office.send(office.event(1, "bad"))
    office.dlq("discard", office.id(), "--reason", "made up")
    assert outbox.publish() == 1


def test_an_outage_only_delays(office: Any, outbox: Outbox, log: Log, health: Health) -> None:
    topic = f"sink.dead-letters.{office.database}-to-{office.database}"
    log.refuses = {topic}
    office.send(office.event(1, "bad"))
    with pytest.raises(RetriableError):
        outbox.publish()
    assert left(health, office) == 1
    log.refuses = set()
    assert outbox.publish() == 1
    assert left(health, office) == 0


@pytest.mark.parametrize("kind", [RetriableError, AccessError])
def test_missing_topic_delays_no_other(
    office: Any, outbox: Outbox, log: Log, kind: type[Exception]
) -> None:
    log.refusal = kind("not now")
    office.send(office.event(1, "bad"))
    office.send(office.event(2, "bad"))
    office.admin.execute("UPDATE sink.dead_letter SET topic = 'elsewhere.a.b' WHERE \"offset\" = 1")
    log.refuses = {f"sink.dead-letters.elsewhere-to-{office.database}"}
    with pytest.raises(kind):
        outbox.publish()
    assert len(log.records) == 1


def test_whoever_dies_after_sending_sends_again(office: Any, outbox: Outbox, log: Log) -> None:
    office.send(office.event(1, "bad"))
    log.dies_after_sending = True
    with pytest.raises(RuntimeError):
        outbox.publish()
    log.dies_after_sending = False
    assert outbox.publish() == 1
    assert log.ids()[0] == log.ids()[1]


def test_two_runners_send_each_dead_letter_once(office: Any, log: Log, health: Health) -> None:
    for number in range(250):
        office.send(office.event(number, "bad"))
    gauge = health.gauge("unpublished", "Letters.", ("database", "source"))
    boxes = [Outbox(office.database, office.dsn, log, gauge) for _ in range(3)]
    threads = [threading.Thread(target=box.publish) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    boxes[0].publish()
    for box in boxes:
        box.close()
    assert sorted(log.ids()) == [(number, 0) for number in sorted(office.dead_letters("dlq_id"))]


class Refusing:
    """A producer whose topic refuses records that have a value, as too large."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, topic: str, *, key: Any, value: Any, headers: Any) -> Any:
        self.sent.append((topic, value))
        refused = MessageSizeTooLargeError() if value else None

        def get(timeout: float) -> None:
            if refused:
                raise refused

        return SimpleNamespace(get=get)


def test_refused_dead_letter_is_sent_without_value(office: Any) -> None:
    producer = Producer(KafkaConnection("127.0.0.1:1"))
    producer._producer = refusing = Refusing()
    producer.send([Record("sink.dead-letters.a-to-b", b"k", b"value", [("sink.dlq-id", b"1")])])
    assert refusing.sent == [
        ("sink.dead-letters.a-to-b", b"value"),
        ("sink.dead-letters.a-to-b", None),
    ]


def test_settings_of_producer_are_known_to_client(monkeypatch: Any) -> None:
    """The client refuses a setting that it does not know."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(producer_module, "is_reachable", lambda *_: True)
    monkeypatch.setattr(producer_module, "KafkaProducer", lambda **settings: given.update(settings))
    Producer(KafkaConnection("127.0.0.1:1")).send([])
    assert given
    assert given.keys() <= KafkaProducer.DEFAULT_CONFIG.keys()


def test_too_large_value_is_left_out(office: Any) -> None:
    office.send(office.event(1, "bad"))
    with psycopg.connect(office.dsn, autocommit=True) as connection:
        (dead_letter,) = find(connection, Wanted(), most=1)
    told = record_of(dead_letter, "t").without_value()
    assert told.value is None
    assert ("sink.too-large", b"true") in told.headers


def test_unavailable_kafka_is_reported_soon() -> None:
    producer, began = Producer(KafkaConnection("127.0.0.1:9")), time.monotonic()
    for _ in range(2):
        with pytest.raises(RetriableError, match="Kafka does not answer"):
            producer.send([Record("t", None, b"encrypted", ())])
    producer.close()
    assert time.monotonic() - began < 15
