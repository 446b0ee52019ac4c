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
from sink_runner.kafka.connection import KafkaConnection

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
    replication_factor: int = 1
    min_insync_replicas: int = 1

    def creation(self) -> dict[str, Any]:
        """Return the arguments of the admin client."""
        retention = str(self.retention_days * _DAY)
        return {
            "num_partitions": self.partitions,
            "replication_factor": self.replication_factor,
            "configs": {"cleanup.policy": "delete", "retention.ms": retention, **self.changeable()},
        }

    def changeable(self) -> dict[str, str]:
        """Return the settings that an existing topic gets as well."""
        return {
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(self.min_insync_replicas),
        }


_OPTIONAL = {"max_message_bytes", "replication_factor", "min_insync_replicas"}


def declared(path: Path, override: Path | None = None) -> list[Topic]:
    """Return the topics of the file; the values of `override` replace those of the file.

    An unknown or missing key is an error, and so is a topic that only `override` has.
    """
    defaults, topics = _read(path)
    more_defaults, more = _read(override) if override else ({}, {})
    if unknown := sorted(more.keys() - topics.keys()):
        raise StackError(f"{override}: {path} has no topic {', '.join(unknown)}")
    return [
        _topic(path, name, {**defaults, **more_defaults, **entry, **more.get(name, {})})
        for name, entry in topics.items()
    ]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the defaults of a file, and its topics."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return document.get("defaults", {}), document.get("topics", {})


def _topic(path: Path, name: str, entry: Mapping[str, Any]) -> Topic:
    wanted = {"key", "partitions", "retention_days"}
    given = entry.keys() - _OPTIONAL
    if given != wanted:
        differs = ", ".join(sorted(given ^ wanted))
        raise StackError(f"{path}, {name}: unknown or missing: {differs}")
    return Topic(name=name, **entry)


def create(kafka: KafkaConnection | str, topics: Sequence[Topic]) -> int:
    """Create missing topics, return their number.

    An existing topic with other numbers of partitions or of replicas is an error.
    """
    with admin(kafka) as client:
        existing = set(client.list_topics())
        missing = {topic.name: topic.creation() for topic in topics if topic.name not in existing}
        if missing:
            # A broker that has just started may list less than it has.
            with suppress(TopicAlreadyExistsError):
                client.create_topics(missing, timeout_ms=_ADMIN_SECONDS * 1000)
        known = [topic for topic in topics if topic.name in existing]
        _check(client, known)
        _change_settings(client, known)
    return len(missing)


def _change_settings(client: KafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Set what an earlier version, or another override, has set differently."""
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=topic.changeable())
        for topic in topics
    ]
    if resources:
        client.alter_configs(resources, incremental=True)


def _check(client: KafkaAdminClient, topics: Sequence[Topic]) -> None:
    if not topics:
        return
    found = client.describe_topics([topic.name for topic in topics])
    partitions = {one["name"]: one["partitions"] for one in found}
    for topic in topics:
        if len(partitions[topic.name]) != topic.partitions:
            raise StackError(
                f"topic {topic.name} has {len(partitions[topic.name])} partitions and"
                f" compose/topics.toml says {topic.partitions}: changing it moves keys; run"
                " `sink-stack clean` to begin again"
            )
        if any(
            len(one["replica_nodes"]) != topic.replication_factor for one in partitions[topic.name]
        ):
            raise StackError(
                f"topic {topic.name} does not have {topic.replication_factor} replicas: change it"
                " with Kafka's kafka-reassign-partitions.sh"
            )


@contextmanager
def admin(kafka: KafkaConnection | str) -> Iterator[KafkaAdminClient]:
    """An admin client; a broker that opens its port may still refuse for a moment."""
    logger = logging.getLogger("kafka")
    level = logger.level
    # What the client logs while the broker starts is not a fault.
    logger.setLevel(logging.CRITICAL)
    try:
        client = _connected(KafkaConnection(kafka) if isinstance(kafka, str) else kafka)
        try:
            yield client
        finally:
            client.close()
    finally:
        logger.setLevel(level)


def _connected(kafka: KafkaConnection) -> KafkaAdminClient:
    bound = time.monotonic() + _ADMIN_SECONDS
    while True:
        try:
            return KafkaAdminClient(**kafka.for_kafka_python("admin", {}))
        except KafkaError as exc:
            if time.monotonic() > bound:
                raise StackError(f"Kafka at {kafka.bootstrap} does not answer: {exc!r}") from exc
            time.sleep(0.1)
