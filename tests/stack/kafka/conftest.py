"""One secure broker for the session, with a topic, records and the ACLs of the runner."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
)
from kafka.admin import (
    ACLResourcePatternType as Pattern,
)

from sink_runner.config.kafka import Security
from sink_runner.config.reader import SettingsReader
from sink_runner.kafka.connection import KafkaConnection

from .broker import PASSWORD, USER, Broker, run_broker

TOPIC, COUNT = "secure.events", 5
ROTATED = ("rotated-kafkapythonfeed", "rotated-librdkafka")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with run_broker(tmp_path_factory.mktemp("secure-kafka")) as running_broker:
        _create_topics(running_broker.internal)
        yield running_broker


def _create_topics(internal: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=internal)
    admin.create_topics(
        {name: {"num_partitions": 1, "replication_factor": 1} for name in (TOPIC, "secure.sent")},
        wait_for_metadata=True,
    )
    topic = ResourcePattern(ResourceType.TOPIC, "secure.", Pattern.PREFIXED)
    group = ResourcePattern(ResourceType.GROUP, "sink.", Pattern.PREFIXED)
    operations = ACLOperation
    privileges = [
        (topic, operations.READ),
        (topic, operations.WRITE),
        (topic, operations.DESCRIBE),
        (topic, operations.DESCRIBE_CONFIGS),
        (group, operations.READ),
    ]
    done = admin.create_acls(
        [
            ACL(f"User:{name}", "*", operation, ACLPermissionType.ALLOW, resource)
            for name in (USER, f"CN={USER}", *ROTATED)
            for resource, operation in privileges
        ]
    )
    assert not done["failed"]
    admin.close()
    producer = KafkaProducer(bootstrap_servers=internal)
    for number in range(COUNT):
        producer.send(TOPIC, key=b"k", value=b"%d" % number)
    producer.close()


Connect = Callable[..., KafkaConnection]


@pytest.fixture
def connect(broker: Broker) -> Connect:
    """Create a connection from settings of [kafka.security], with a short bootstrap timeout."""

    def make(bootstrap: str, **table: Any) -> KafkaConnection:
        security = SettingsReader().read(Security, table, "kafka.security")
        return KafkaConnection(
            bootstrap, security, {"kafka-python": {"bootstrap_timeout_ms": 2000}}
        )

    return make


@pytest.fixture
def login(broker: Broker, connect: Connect) -> Callable[..., KafkaConnection]:
    """Create a connection of the sink's user to the SASL_SSL listener, with changed settings."""

    def make(**changes: Any) -> KafkaConnection:
        table = {
            "protocol": "SASL_SSL",
            "ca_file": str(broker.authority.file),
            "mechanism": "SCRAM-SHA-512",
            "username": USER,
            "password": PASSWORD,
        }
        merged = {key: value for key, value in (table | changes).items() if value is not None}
        return connect(broker.sasl, **merged)

    return make
