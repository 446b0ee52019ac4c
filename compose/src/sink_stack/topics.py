"""Creates the topics that compose/topics.toml declares."""

import logging
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from .errors import StackError

_DAY = 24 * 60 * 60 * 1000
_ADMIN_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as it is declared."""

    name: str
    key: Sequence[str]
    partitions: int
    retention_days: int
    max_message_bytes: int = 68157440
    """As the broker's `message.max.bytes`; debezium-config/README.md has all limits."""

    def creation(self) -> dict[str, Any]:
        """Return the arguments of the admin client."""
        retention = str(self.retention_days * _DAY)
        return {
            "num_partitions": self.partitions,
            "replication_factor": 1,
            "configs": {
                "cleanup.policy": "delete",
                "retention.ms": retention,
                "max.message.bytes": str(self.max_message_bytes),
            },
        }


def declared(path: Path) -> list[Topic]:
    """Return the topics of the file; an unknown or missing key is an error."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    defaults = document.get("defaults", {})
    return [_topic(path, name, {**defaults, **entry}) for name, entry in document["topics"].items()]


def _topic(path: Path, name: str, entry: Mapping[str, Any]) -> Topic:
    wanted = {"key", "partitions", "retention_days"}
    given = entry.keys() - {"max_message_bytes"}
    if given != wanted:
        differs = ", ".join(sorted(given ^ wanted))
        raise StackError(f"{path}, {name}: unknown or missing: {differs}")
    return Topic(name=name, **entry)


def create(bootstrap: str, topics: Sequence[Topic]) -> int:
    """Create missing topics, return their number; a different partition count is an error."""
    with admin(bootstrap) as client:
        existing = set(client.list_topics())
        missing = {topic.name: topic.creation() for topic in topics if topic.name not in existing}
        if missing:
            # A broker that has just started may list less than it has.
            with suppress(TopicAlreadyExistsError):
                client.create_topics(missing, timeout_ms=_ADMIN_SECONDS * 1000)
        known = [topic for topic in topics if topic.name in existing]
        _check(client, known)
        _raise_limits(client, known)
    return len(missing)


def _raise_limits(client: KafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Set the largest record of topics that an earlier version has made."""
    resources = [
        ConfigResource(
            ConfigResourceType.TOPIC,
            topic.name,
            configs={"max.message.bytes": str(topic.max_message_bytes)},
        )
        for topic in topics
    ]
    if resources:
        client.alter_configs(resources, incremental=True)


def _check(client: KafkaAdminClient, topics: Sequence[Topic]) -> None:
    if not topics:
        return
    found = client.describe_topics([topic.name for topic in topics])
    counts = {one["name"]: len(one["partitions"]) for one in found}
    for topic in topics:
        if counts[topic.name] != topic.partitions:
            raise StackError(
                f"topic {topic.name} has {counts[topic.name]} partitions and compose/topics.toml"
                f" says {topic.partitions}: changing it moves keys; run `sink-stack clean` to begin"
                " again"
            )


@contextmanager
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """An admin client; a broker that opens its port may still refuse for a moment."""
    logger = logging.getLogger("kafka")
    level = logger.level
    # What the client logs while the broker starts is not a fault.
    logger.setLevel(logging.CRITICAL)
    try:
        client = _connected(bootstrap)
        try:
            yield client
        finally:
            client.close()
    finally:
        logger.setLevel(level)


def _connected(bootstrap: str) -> KafkaAdminClient:
    bound = time.monotonic() + _ADMIN_SECONDS
    while True:
        try:
            return KafkaAdminClient(bootstrap_servers=bootstrap)
        except KafkaError as exc:
            if time.monotonic() > bound:
                raise StackError(f"Kafka at {bootstrap} does not answer: {exc!r}") from exc
            time.sleep(0.1)
