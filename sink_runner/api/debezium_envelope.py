"""Encode an event as Debezium encodes a captured row: Confluent's framing, Avro, envelope.

The schemas equal those of Debezium for the same table in every character, so the registry gives
them the same ids.  This matters for keys: their bytes contain the id and determine the partition,
and all changes of a row must be in one partition.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import fastavro
from pydantic_core import to_jsonable_python

from ..model.envelope import PLACEHOLDER
from ..plugin import CapturedColumn, Table

_CONNECTOR = "callback"


def _logical_type(name: str) -> dict[str, Any]:
    return {"type": "string", "connect.version": 1, "connect.name": name}


KINDS: Mapping[str, Any] = {
    "int": "int",
    "text": "string",
    "decimal": "string",
    "uuid": _logical_type("io.debezium.data.Uuid"),
    "json": _logical_type("io.debezium.data.Json"),
    "timestamp": _logical_type("io.debezium.time.IsoTimestamp"),
}


def encode_value(column: CapturedColumn, value: Any) -> Any:
    """Return a field's value as Debezium writes it for the column."""
    if value is None:
        return None
    match column.kind:
        case "json":
            plain = to_jsonable_python(value)
            return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
        case "decimal":
            number = Decimal(str(value))
            if column.scale is not None:
                number = number.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_UP)
            return str(number)
        case _:
            return value


def key_schema(table: Table, column: CapturedColumn) -> str:
    return _to_json(
        {
            "type": "record",
            "name": "Key",
            "namespace": str(table),
            "fields": [{"name": column.name, "type": KINDS[column.kind]}],
            "connect.name": f"{table}.Key",
        }
    )


def value_schema(
    table: Table, columns: Sequence[CapturedColumn], placeholder: str | None = None
) -> str:
    """Return the schema of an event; `placeholder` is the parameter that DropDefaults.java adds."""
    parameters = {"connect.parameters": {PLACEHOLDER: placeholder}} if placeholder else {}
    row = {
        "type": "record",
        "name": "Value",
        "fields": [_field(column.name, KINDS[column.kind], column.nullable) for column in columns],
        "connect.name": f"{table}.Value",
    }
    fields = [
        _field("before", row, nullable=True),
        _field("after", "Value", nullable=True),
        {"name": "source", "type": _SOURCE},
        _field("transaction", _TRANSACTION, nullable=True),
        {"name": "op", "type": "string"},
        *[_field(name, "long", nullable=True) for name in ("ts_ms", "ts_us", "ts_ns")],
    ]
    return _to_json(
        {
            "type": "record",
            "name": "Envelope",
            "namespace": str(table),
            "fields": fields,
            "connect.version": 2,
            **parameters,
            "connect.name": f"{table}.Envelope",
        }
    )


def envelope(table: Table, row: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the event of a row inserted now, which has no log position: only times order it."""
    now = time.time_ns()
    times = {"ts_ms": now // 1_000_000, "ts_us": now // 1_000, "ts_ns": now}
    source = {
        "version": version,
        "connector": _CONNECTOR,
        "name": table.database,
        "snapshot": "false",
        "db": table.database,
        "schema": table.schema,
        "table": table.name,
    }
    return {"before": None, "after": dict(row), "source": source | times, "op": "c", **times}


def parse_schema(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def encode_record(schema_id: int, schema: Any, value: Mapping[str, Any]) -> bytes:
    """Return the Avro bytes behind Confluent's framing: a zero byte, then the id in four bytes."""
    stream = io.BytesIO()
    stream.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(stream, schema, value)
    return stream.getvalue()


def _field(name: str, kind: Any, nullable: bool) -> dict[str, Any]:  # noqa: FBT001
    return (
        {"name": name, "type": ["null", kind], "default": None}
        if nullable
        else {"name": name, "type": kind}
    )


def _to_json(schema: Any) -> str:
    return json.dumps(schema, separators=(",", ":"))


_SNAPSHOT = {
    "type": "string",
    "connect.version": 1,
    "connect.parameters": {
        "allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,"
        "incremental"
    },
    "connect.default": "false",
    "connect.name": "io.debezium.data.Enum",
}
_SOURCE = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        *[{"name": name, "type": "string"} for name in ("version", "connector", "name")],
        {"name": "ts_ms", "type": "long"},
        {"name": "snapshot", "type": [_SNAPSHOT, "null"], "default": "false"},
        {"name": "db", "type": "string"},
        _field("sequence", "string", nullable=True),
        *[_field(name, "long", nullable=True) for name in ("ts_us", "ts_ns")],
        *[{"name": name, "type": "string"} for name in ("schema", "table")],
        *[_field(name, "long", nullable=True) for name in ("txId", "lsn", "xmin")],
        _field("origin", "string", nullable=True),
        _field("origin_lsn", "long", nullable=True),
    ],
    "connect.version": 1,
    "connect.name": "io.debezium.connector.postgresql.Source",
}
_TRANSACTION = {
    "type": "record",
    "name": "block",
    "namespace": "event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total_order", "type": "long"},
        {"name": "data_collection_order", "type": "long"},
    ],
    "connect.version": 1,
    "connect.name": "event.block",
}
