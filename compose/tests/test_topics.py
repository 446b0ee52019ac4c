"""The topics file is complete and contains no misspelt property."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from sink_stack import topics
from sink_stack.debezium import captured_tables
from sink_stack.errors import StackError
from sink_stack.settings import DATABASES

ROOT = Path(__file__).parents[2]
TOPICS = ROOT / "compose" / "topics.toml"


@pytest.mark.parametrize("direction", DATABASES)
def test_every_captured_table_has_a_topic(direction):
    names = {topic.name for topic in topics.declared(TOPICS)}
    for table in captured_tables(ROOT / "debezium-config" / f"{direction}.properties"):
        assert f"{DATABASES[direction]}.{table}" in names


def test_every_topic_is_debezium_or_dead_letters():
    first, second = DATABASES.values()
    expected = {f"sink.dead-letters.{a}-to-{b}" for a, b in ((first, second), (second, first))}
    expected |= {f"__debezium-heartbeat.{database}" for database in DATABASES.values()}
    expected |= {f"{database}.transaction" for database in DATABASES.values()}
    for direction, database in DATABASES.items():
        listed = captured_tables(ROOT / "debezium-config" / f"{direction}.properties")
        expected |= {f"{database}.{table}" for table in listed}
    assert {topic.name for topic in topics.declared(TOPICS)} == expected


def test_topics_retain_longest_window_of_a_flow():
    rows = [
        topic
        for topic in topics.declared(TOPICS)
        if "heartbeat" not in topic.name
        and not topic.name.endswith((".transaction", ".debezium_signal"))
    ]
    assert rows
    assert all(topic.retention_days >= 30 for topic in rows)


@pytest.mark.parametrize(
    "entry",
    ["key = ['id']\npartition = 3", "partitions = 3", "key = ['id']\nretention_days = 1\nx = 1"],
)
def test_misspelt_word_is_error_that_names_topic(tmp_path, entry):
    path = tmp_path / "topics.toml"
    path.write_text(f"[defaults]\npartitions = 1\nretention_days = 1\n[topics.'a.b.c']\n{entry}\n")
    with pytest.raises(StackError, match=r"a\.b\.c"):
        topics.declared(path)


def test_override_replaces_values_and_keeps_others(tmp_path):
    path = tmp_path / "topics.toml"
    path.write_text(
        """[defaults]
replication_factor = 3
[topics."smart_citizen.public.citizens"]
retention_days = 90"""
    )
    found = {topic.name: topic for topic in topics.declared(TOPICS, path)}
    own = {topic.name: topic for topic in topics.declared(TOPICS)}
    changed = {"smart_citizen.public.citizens": {"retention_days": 90}}
    assert found == {
        name: replace(topic, replication_factor=3, **changed.get(name, {}))
        for name, topic in own.items()
    }


def test_override_of_unknown_topic_is_error(tmp_path):
    path = tmp_path / "topics.toml"
    path.write_text("[topics.'smart_citizen.public.citizen']\nretention_days = 90")
    with pytest.raises(StackError, match=r"no topic smart_citizen\.public\.citizen$"):
        topics.declared(TOPICS, path)


def test_every_property_is_documented():
    text = (ROOT / "debezium-config" / "README.md").read_text()
    words = set(re.findall(r"[A-Za-z0-9-]+", text))
    for path in (ROOT / "debezium-config").glob("*.properties"):
        for line in path.read_text().splitlines():
            name = line.partition("=")[0]
            if name.startswith(("debezium.", "quarkus.")) and "=" in line:
                assert set(name.rpartition(".")[2].split(".")) <= words, name


@pytest.mark.parametrize("direction", DATABASES)
def test_every_captured_table_is_published(direction):
    folder = ROOT / "compose" / "sql" / DATABASES[direction]
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.sql")))
    published = re.search(r"CREATE PUBLICATION sink_publication FOR TABLE([^;]*?)\sWITH \(", text)
    assert published
    names = {name.strip() for name in published[1].split(",")}
    assert names == set(captured_tables(ROOT / "debezium-config" / f"{direction}.properties"))


@pytest.mark.stack
def test_admin_does_not_change_logger_of_kafka(stack):
    """A program that lists topics still gets the log lines of its own consumers."""
    logger = logging.getLogger("kafka")
    before = logger.level
    with topics.admin(stack.kafka) as client:
        client.list_topics()
    assert logger.level == before


@pytest.mark.stack
def test_topics_are_changed_but_not_their_replicas(stack):
    (topic, *_) = topics.declared(TOPICS)
    try:
        assert topics.create(stack.kafka, [replace(topic, max_message_bytes=1_000_000)]) == 0
        assert limit_of(stack.kafka, topic.name) == "1000000"
    finally:
        topics.create(stack.kafka, [topic])
    with pytest.raises(StackError, match="does not have 3 replicas"):
        topics.create(stack.kafka, [replace(topic, replication_factor=3)])


def limit_of(kafka, topic):
    with topics.admin(kafka) as client:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = client.describe_configs([resource])
    return found["topic"][topic]["max.message.bytes"]["value"]
