"""Each part of the stack accepts the records that the previous part accepts."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from sink_stack import kafka, topics

from sink_runner.config.api import Api
from sink_runner.kafka import kafka_python, librdkafka, record_size

ROOT = Path(__file__).parents[2]
ROW = 20_000_000


def properties(text: str) -> dict[str, str]:
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


CAPTURE = properties((ROOT / "debezium-config" / "common.properties").read_text())
PRODUCER = {
    name.removeprefix("debezium.sink.kafka.producer."): value
    for name, value in CAPTURE.items()
    if name.startswith("debezium.sink.kafka.producer.")
}
COMPOSE = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())
CONTAINER = {
    name.removeprefix("KAFKA_").lower().replace("_", "."): value
    for name, value in COMPOSE["services"]["kafka"]["environment"].items()
}
BROKERS = {"native": properties(kafka._SERVER), "container": CONTAINER}


def test_binary_row_with_its_before_image_fits_producer() -> None:
    record = 2 * ROW * 4 // 3
    assert record < int(PRODUCER["max.request.size"]) == record_size.PRODUCED_BYTES
    assert int(PRODUCER["buffer.memory"]) >= 2 * record_size.PRODUCED_BYTES


@pytest.mark.parametrize("broker", BROKERS)
def test_each_limit_is_at_least_previous_one(broker: str) -> None:
    settings = {
        name: int(value) for name, value in BROKERS[broker].items() if name.endswith("bytes")
    }
    chain = [
        int(PRODUCER["max.request.size"]),
        *(topic.max_message_bytes for topic in topics.declared(ROOT / "compose" / "topics.toml")),
        settings["message.max.bytes"],
        settings["replica.fetch.max.bytes"],
        settings["socket.request.max.bytes"],
    ]
    assert chain == sorted(chain)
    assert settings["message.max.bytes"] == record_size.STORED_BYTES
    assert settings["replica.fetch.response.max.bytes"] >= settings["message.max.bytes"]


def test_consumers_fetch_what_the_broker_stores() -> None:
    assert kafka_python._SETTINGS["fetch_max_bytes"] >= record_size.STORED_BYTES
    settings = librdkafka._SETTINGS
    assert settings["message.max.bytes"] == record_size.STORED_BYTES
    assert settings["fetch.max.bytes"] >= record_size.STORED_BYTES
    # librdkafka refuses a configuration without room for the fields of the response.
    assert settings["receive.message.max.bytes"] >= settings["fetch.max.bytes"] + 512


def test_topics_are_created_with_their_limit() -> None:
    document = tomllib.loads((ROOT / "compose" / "topics.toml").read_text())
    assert document["defaults"]["max_message_bytes"] == record_size.STORED_BYTES
    for topic in topics.declared(ROOT / "compose" / "topics.toml"):
        assert topic.creation()["configs"]["max.message.bytes"] == str(record_size.STORED_BYTES)


def test_events_of_the_api_fit_their_topic() -> None:
    default = Api.__dataclass_fields__["max_record_bytes"].default
    assert 2 * default <= record_size.STORED_BYTES  # the publisher leaves room for the envelope


def test_readme_has_the_current_limits() -> None:
    text = (ROOT / "debezium-config" / "README.md").read_text()
    table = text.split("## Large rows", 1)[1].split("\n## ", 1)[0]
    documented = [int(number) for number in re.findall(r"\| (\d{8,9}) \|", table)]
    assert documented == [
        record_size.PRODUCED_BYTES,
        record_size.STORED_BYTES,
        record_size.STORED_BYTES,
        record_size.FETCHED_BYTES,
        record_size.FETCHED_BYTES,
        record_size.RECEIVED_BYTES,
        record_size.PRODUCED_BYTES,
    ]
