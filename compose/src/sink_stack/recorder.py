"""Reads the records that Debezium wrote, as bytes and decoded, and saves them for other tests."""

import base64
import io
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from kafka import KafkaConsumer, TopicPartition

_HEADER = 5
_POLL_MILLISECONDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One Kafka record with its decoded key and value; a tombstone's value is None."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    raw_key: bytes | None
    raw_value: bytes | None
    key: Any
    value: Any

    @property
    def key_schema_id(self) -> int | None:
        return schema_id(self.raw_key)

    @property
    def value_schema_id(self) -> int | None:
        return schema_id(self.raw_value)


def schema_id(raw: bytes | None) -> int | None:
    """The id after the magic byte of Confluent's wire format."""
    if raw is None:
        return None
    assert raw[0] == 0, "not in Confluent's wire format"
    return int.from_bytes(raw[1:_HEADER], "big")


class Schemas:
    """Writer schemas by id, as the registry serves them."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._texts: dict[int, str] = {}
        self._parsed: dict[int, Any] = {}

    def text(self, number: int) -> str:
        if number not in self._texts:
            url = f"{self._registry}/schemas/ids/{number}"
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
                self._texts[number] = json.load(answer)["schema"]
        return self._texts[number]

    def decode(self, raw: bytes | None) -> Any:
        number = schema_id(raw)
        if raw is None or number is None:
            return None
        if number not in self._parsed:
            self._parsed[number] = fastavro.parse_schema(json.loads(self.text(number)))
        return fastavro.schemaless_reader(io.BytesIO(raw[_HEADER:]), self._parsed[number], None)


class Recorder:
    """Reads topics from their beginning, outside any consumer group."""

    def __init__(self, bootstrap: str, registry: str) -> None:
        self._bootstrap = bootstrap
        self.schemas = Schemas(registry)

    def read(self, topic: str, count: int, *, seconds: float = 30) -> list[Message]:
        """At least `count` messages of a topic, in offset order within a partition."""
        found: list[Message] = []
        bound = time.monotonic() + seconds
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        try:
            parts = consumer.partitions_for_topic(topic) or ()
            consumer.assign([TopicPartition(topic, part) for part in sorted(parts)])
            consumer.seek_to_beginning()
            while len(found) < count and time.monotonic() < bound:
                polled: Mapping[Any, Any] = consumer.poll(_POLL_MILLISECONDS)
                for records in polled.values():
                    found.extend(self._message(record) for record in records)
        finally:
            consumer.close()
        assert len(found) >= count, f"{topic}: {len(found)} of {count} messages in {seconds} s"
        return found

    def _message(self, record: Any) -> Message:
        return Message(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            headers=tuple(record.headers),
            raw_key=record.key,
            raw_value=record.value,
            key=self.schemas.decode(record.key),
            value=self.schemas.decode(record.value),
        )

    def save(self, path: Path, fact: str, messages: Sequence[Message]) -> None:
        """Write messages and the schemas they need; bytes are base64."""
        record = {
            "fact": fact,
            "schemas": dict(sorted(self._schemas_of(messages))),
            "messages": [_as_json(message) for message in messages],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _schemas_of(self, messages: Sequence[Message]) -> Iterator[tuple[str, Any]]:
        for message in messages:
            for number in (message.key_schema_id, message.value_schema_id):
                if number is not None:
                    yield str(number), json.loads(self.schemas.text(number))


def _as_json(message: Message) -> dict[str, Any]:
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "key": _text(message.raw_key),
        "value": _text(message.raw_value),
    }


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
