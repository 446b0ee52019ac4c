"""Check that a mapping's topic exists and keeps every event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from ..model.findings import Fault
from .connection import KafkaConnection
from .offset_queries import admin_client, describe_topic

_LEAST_RETENTION = timedelta(days=1)
_LARGEST_ROW = 20 * 1024 * 1024  # bytes, which every other limit permits
_MILLISECONDS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic; `settings` is empty where an ACL denies them."""

    name: str
    partitions: int
    settings: Mapping[str, str]

    def number(self, setting: str) -> int | None:
        value = self.settings.get(setting, "")
        return int(value) if value.lstrip("-").isdigit() else None


def read_topic(connection: KafkaConnection, topic: str) -> TopicFacts | None:
    """Return the topic's facts, or None.  Raises AccessError and RetriableError."""
    with admin_client(connection) as admin:
        found = describe_topic(admin, topic)
        if found is None:
            return None
        return TopicFacts(topic, len(found["partitions"]), _settings(admin, topic))


def _settings(admin: KafkaAdminClient, topic: str) -> Mapping[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    except KafkaError:
        return {}  # DescribeConfigs is a separate privilege
    return {name: str(entry["value"]) for name, entry in found.items()}


def topic_faults(
    connection: KafkaConnection, name: str, topic: TopicFacts | None
) -> Iterator[Fault]:
    """Yield settings of the topic that would lose or refuse events."""
    tool = f"--bootstrap-server {connection.bootstrap}"
    if connection.security.protocol != "PLAINTEXT":
        tool += " --command-config client.properties"
    if topic is None:
        yield Fault(
            f"topic {name!r} does not exist",
            "a topic for the events of the source",
            f"kafka-topics.sh {tool} --create --topic {name} --partitions 1",
        )
        return
    alter = f"kafka-configs.sh {tool} --alter --topic {name} --add-config"
    if "compact" in topic.settings.get("cleanup.policy", ""):
        yield Fault(
            f"topic {name!r} is compacted: of several events of a row only the last one stays",
            "cleanup.policy=delete",
            f"{alter} cleanup.policy=delete",
            refused=False,
        )
    retention = topic.number("retention.ms")
    if retention is not None and retention >= 0 and retention * _MILLISECONDS < _LEAST_RETENTION:
        yield Fault(
            f"topic {name!r} keeps events for {retention * _MILLISECONDS}: they are gone when the "
            "mapping is stopped for longer",
            "a retention of several days",
            f"{alter} retention.ms={30 * 24 * 3600 * 1000}",
            refused=False,
        )
    largest = topic.number("max.message.bytes")
    if largest is not None and largest < _LARGEST_ROW:
        yield Fault(
            f"topic {name!r} takes records of up to {largest} bytes: a larger row ends the capture "
            "of its database",
            f"{_LARGEST_ROW} bytes or more",
            f"{alter} max.message.bytes=68157440",
            refused=False,
        )
