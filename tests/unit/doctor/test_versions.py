"""The version of Debezium is read from an event; what cannot be read is left out."""

from io import BytesIO
from types import SimpleNamespace

import fastavro
import pytest

from sink_runner.config import Registry
from sink_runner.doctor import versions
from sink_runner.errors import RetriableError

SCHEMA = {
    "type": "record",
    "name": "Envelope",
    "fields": [
        {
            "name": "source",
            "type": {
                "type": "record",
                "name": "Source",
                "fields": [{"name": "version", "type": "string"}],
            },
        }
    ],
}


@pytest.fixture
def deployment(monkeypatch) -> SimpleNamespace:
    """A deployment of one topic, whose last event is of Debezium 3.6.0."""
    body = BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, {"source": {"version": "3.6.0.Final"}})
    value = b"\0" + (7).to_bytes(4, "big") + body.getvalue()
    monkeypatch.setattr(versions, "last_values", lambda _kafka, _topics: iter([value]))
    monkeypatch.setattr(versions.SchemaCache, "schema", lambda _self, _id: SCHEMA)
    mapping = SimpleNamespace(source_table=SimpleNamespace(topic="t"))
    config = SimpleNamespace(registry=Registry(url="http://127.0.0.1:1"))
    return SimpleNamespace(kafka=None, config=config, streaming={"one": mapping})


def test_version_of_debezium_is_that_of_an_event(deployment) -> None:
    assert versions.debezium_version(deployment) == "Debezium 3.6.0.Final"


def test_unknown_version_is_left_out(deployment, monkeypatch) -> None:
    def fail(_deployment):
        raise RetriableError("no answer")

    monkeypatch.setattr(versions, "kafka_version", fail)
    assert versions.service_versions(deployment) == "Debezium 3.6.0.Final"
    monkeypatch.setattr(versions, "last_values", lambda _kafka, _topics: iter(()))
    assert versions.service_versions(deployment) == ""
