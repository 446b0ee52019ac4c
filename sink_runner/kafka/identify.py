"""Which topic is this?  Asked once, at start."""

from __future__ import annotations

from kafka import KafkaAdminClient

from ..errors import ConfigError
from ..target.offsets import Topic
from .asking import asking


def identify(bootstrap: str, topic: str) -> Topic:
    """Ask Kafka which topic this is."""
    with asking():
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            cluster = admin.describe_cluster()["cluster_id"]
            found = admin.describe_topics([topic])[0]
        finally:
            admin.close()
    if found.get("error_code"):
        raise ConfigError(f"topic {topic!r} does not exist: create it with its partitions first")
    return Topic(cluster_id=cluster, name=topic, topic_id=str(found["topic_id"]))
