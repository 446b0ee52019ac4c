"""Recorded messages, and schemas and messages that the tests of the decoder build."""

import base64
import json
from io import BytesIO
from pathlib import Path

import fastavro

from sink_runner.avro import EnvelopeDecoder
from sink_runner.errors import DecodeError

RECORDINGS = Path(__file__).parents[2] / "fixtures" / "debezium"
OTHER_RECORDS = ("heartbeat-smart_citizen", "heartbeat-smart_warehouse", "transaction")
EVENTS = sorted(path.stem for path in RECORDINGS.glob("*.json") if path.stem not in OTHER_RECORDS)
ALL_SOURCE_FIELDS = frozenset(("lsn", "ts_ms", "origin", "snapshot", "tx_id", "sequence"))


class FakeRegistry:
    """A schema registry with fixed schemas, which records the requests."""

    def __init__(self, schemas):
        self.schemas = schemas
        self.requests = []

    def schema(self, schema_id):
        self.requests.append(schema_id)
        if schema_id not in self.schemas:
            raise DecodeError(f"the schema registry does not know schema {schema_id}")
        return self.schemas[schema_id]


def load_recording(name):
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    schemas = FakeRegistry({int(number): text for number, text in recording["schemas"].items()})
    return schemas, recording["messages"]


def values(messages):
    return [message["value"] and base64.b64decode(message["value"]) for message in messages]


def envelope(*fields, **others):
    row = {"type": "record", "name": "Value", "fields": list(fields), **others}
    source = {
        "type": "record",
        "name": "Source",
        "namespace": "io.debezium.connector.postgresql",
        "fields": [
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "type": ["string", "null"]},
            {"name": "txId", "type": ["null", "long"]},
            {"name": "lsn", "type": ["null", "long"]},
            {"name": "origin", "type": ["null", "string"]},
        ],
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": "db.public.t",
        "fields": [
            {"name": "before", "type": ["null", row]},
            {"name": "after", "type": ["null", "Value"]},
            {"name": "source", "type": source},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"]},
        ],
    }


SOURCE = {"ts_ms": 1795223434777, "snapshot": "false", "txId": 8, "lsn": 59487312, "origin": None}


def encode(schema, after, before=None, schema_id=1, op="u"):
    message = BytesIO()
    message.write(b"\0" + schema_id.to_bytes(4, "big"))
    event = {"before": before, "after": after, "source": SOURCE, "op": op, "ts_ms": None}
    fastavro.schemaless_writer(message, fastavro.parse_schema(schema), event)
    return message.getvalue()


def field(name, kind):
    return {"name": name, "type": kind}


def decode_both_ways(schema, message, **wanted):
    """Decode with fastavro (a schema's first message) and with the compiled decoder."""
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), **wanted)
    first, second = decoder.decode_many([message, message])
    assert repr(first) == repr(second)
    return second


def zigzag(number):
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number >= 0x80:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
