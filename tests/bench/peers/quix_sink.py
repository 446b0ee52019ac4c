"""Write the topic into the table with Quix Streams; runs in the environment of quix.txt."""

# Quix Streams is not installed in the environment that checks types.
# mypy: disable-error-code="import-not-found, misc"

import io
import json
import os
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

import fastavro
from quixstreams import Application
from quixstreams.models.serializers import Deserializer
from quixstreams.sinks.community.postgresql import PostgreSQLSink

HEADER_BYTES = 5  # the magic byte and the id of the writer's schema


class EnvelopeDeserializer(Deserializer):
    """Decodes Debezium envelopes; fetches each schema once from the registry."""

    split_values = False

    def __init__(self, registry: str) -> None:
        super().__init__()
        self._registry = registry
        self._schemas: dict[bytes, Any] = {}

    def __call__(self, value: bytes, ctx: Any) -> Any:
        header = value[:HEADER_BYTES]
        schema = self._schemas.get(header) or self._fetch_schema(header)
        return fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema)

    def _fetch_schema(self, header: bytes) -> Any:
        schema_id = int.from_bytes(header[1:], "big")
        with urllib.request.urlopen(f"{self._registry}/schemas/ids/{schema_id}") as response:
            schema = json.loads(json.load(response)["schema"])
        self._schemas[header] = fastavro.parse_schema(schema)
        return self._schemas[header]


def main(env: Mapping[str, str]) -> None:
    app = Application(
        broker_address=env["QUIX_KAFKA"],
        consumer_group=f"bench-{uuid.uuid4().hex}",
        auto_offset_reset="earliest",
        commit_every=int(env["QUIX_COMMIT_EVERY"]),
        commit_interval=5.0,
        auto_create_topics=False,
        consumer_extra_config={"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 50},
        loglevel="WARNING",
    )
    topic = app.topic(
        env["QUIX_TOPIC"],
        key_deserializer="bytes",
        value_deserializer=EnvelopeDeserializer(env["QUIX_REGISTRY"]),
    )
    rows = app.dataframe(topic).apply(lambda envelope: envelope["after"])
    rows.sink(
        PostgreSQLSink(
            host="127.0.0.1",
            port=int(env["QUIX_PORT"]),
            dbname=env["QUIX_DATABASE"],
            user=env["QUIX_USER"],
            password=env["QUIX_PASSWORD"],
            schema_name="bench",
            table_name="account",
            schema_auto_update=False,
            primary_key_columns="id",
            upsert_on_primary_key=True,
            include_metadata=False,
        )
    )
    app.run(count=int(env["QUIX_EVENTS"]))


main(os.environ)
