"""Derive from the database's catalog the schemas that Debezium writes for a table.

They serve where there is no registry, and for the current table: the registry has the schema of
the last captured row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..avro.names import adjust_name
from ..config.dsn import Dsn
from ..errors import ConfigError
from ..plugin import Table
from ..postgres.catalog import qualified
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from .shape import SOURCE_LENGTH, SOURCE_SCALE, SOURCE_TYPE, avro_name

# A domain, at any depth, is written as its base type; the outermost modifier applies.
_COLUMNS = """
SELECT a.attname, format_type(b.oid, b.modifier), NOT (a.attnotnull OR b.required),
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = b.oid)
FROM pg_attribute a CROSS JOIN LATERAL (
  WITH RECURSIVE up AS (
    SELECT oid, typtype, typbasetype, typnotnull AS required,
           CASE WHEN typtype = 'd' THEN typtypmod ELSE a.atttypmod END AS modifier
    FROM pg_type WHERE oid = a.atttypid
    UNION ALL
    SELECT t.oid, t.typtype, t.typbasetype, up.required OR t.typnotnull,
           CASE WHEN up.modifier < 0 AND t.typtype = 'd' THEN t.typtypmod ELSE up.modifier END
    FROM up JOIN pg_type t ON t.oid = up.typbasetype WHERE up.typtype = 'd'
  )
  SELECT oid, modifier, required FROM up WHERE typtype <> 'd'
) b
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname
FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass(%s) AND i.indisprimary AND k.place <= i.indnkeyatts
ORDER BY k.place
"""
_SHAPE = re.compile(
    r"(?P<name>[^(\[]+)(?:\((?P<length>-?\d+)(?:,(?P<scale>-?\d+))?\))?(?P<rest>.*)"
)
_PLAIN = {
    "integer": "int",
    "bigint": "long",
    "oid": "long",
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
}
_NAMED = {
    "uuid": "io.debezium.data.Uuid",
    "json": "io.debezium.data.Json",
    "jsonb": "io.debezium.data.Json",
    "xml": "io.debezium.data.Xml",
    "date": "io.debezium.time.IsoDate",
    "time without time zone": "io.debezium.time.IsoTime",
    "time with time zone": "io.debezium.time.ZonedTime",
    "timestamp without time zone": "io.debezium.time.IsoTimestamp",
    "timestamp with time zone": "io.debezium.time.ZonedTimestamp",
    "interval": "io.debezium.time.Interval",
}
_SIZED = frozenset({"character varying", "character", "numeric", "bit", "bit varying"})


class TableColumn(NamedTuple):
    """One column of the catalog."""

    name: str
    type: str
    """With length, precision and scale."""
    nullable: bool
    labels: Sequence[str] | None = None
    """Of an enumerated type."""


class TableShape(NamedTuple):
    """A table's columns in order, and its primary key."""

    columns: Sequence[TableColumn]
    key: Sequence[str]


def read_shape(connection: Connection, table: Table) -> TableShape:
    """Return columns and key of a table; ConfigError where it does not exist."""
    name = qualified(table.schema, table.name)
    columns = [TableColumn(*row) for row in connection.execute(_COLUMNS, (name,)).fetchall()]
    if not columns:
        raise ConfigError(f"table {table} does not exist, or its schema may not be used")
    key = [row[0] for row in connection.execute(_KEY, (name,)).fetchall()]
    return TableShape(columns, key)


def read_current_shape(dsn: Dsn, table: Table) -> TableShape:
    """Return the same by a connection string; RetriableError where the database does not answer."""
    with classified_errors(), connect(dsn, "sink-runner schema") as connection:
        return read_shape(connection, table)


def value_schema(
    table: Table, shape: TableShape, *, with_source_types: bool = False
) -> dict[str, Any]:
    """Return the schema of a row.

    `with_source_types` adds each column's type in the database, as Debezium does where
    ``column.propagate.source.type`` is set.
    """
    return _record(
        table,
        "Value",
        [_field(column, with_source_type=with_source_types) for column in shape.columns],
    )


def key_schema(table: Table, shape: TableShape) -> dict[str, Any] | None:
    """Return the schema of the primary key; None if there is none."""
    columns = {column.name: column for column in shape.columns}
    fields = [_field(columns[name], with_source_type=False) for name in shape.key]
    return _record(table, "Key", fields) if fields else None


def _record(table: Table, name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "namespace": avro_name(table.topic),
        "fields": fields,
        "connect.name": f"{avro_name(table.topic)}.{name}",
    }


def _field(column: TableColumn, *, with_source_type: bool) -> dict[str, Any]:
    kind = _type(column)
    if with_source_type:
        kind = ({"type": kind} if isinstance(kind, str) else kind) | {
            "connect.parameters": _source_type(column)
        }
    if column.nullable:
        return {"name": adjust_name(column.name), "type": ["null", kind], "default": None}
    return {"name": adjust_name(column.name), "type": kind}


def _type(column: TableColumn) -> Any:
    name, _, _, rest = _parts(column.type)
    if rest.endswith("[]"):
        return "string"  # PostgresText of debezium-config writes an array as its text
    if column.labels is not None:
        allowed = {"allowed": ",".join(column.labels)}
        return _named("io.debezium.data.Enum") | {"connect.parameters": allowed}
    if name == "smallint":
        return {"type": "int", "connect.type": "int16"}
    if name in _NAMED:
        return _named(_NAMED[name])
    return _PLAIN.get(name, "string")


def _named(name: str) -> dict[str, Any]:
    return {"type": "string", "connect.version": 1, "connect.name": name}


def _source_type(column: TableColumn) -> dict[str, str]:
    name, length, scale, rest = _parts(column.type)
    found = {SOURCE_TYPE: name + ("[]" if rest.endswith("[]") else "")}
    if length is not None and name in _SIZED:
        found[SOURCE_LENGTH] = length
        if name == "numeric":
            found[SOURCE_SCALE] = scale or "0"
    return found


def _parts(text: str) -> tuple[str, str | None, str | None, str]:
    """Split ``timestamp(3) without time zone`` into name, length, scale and the rest."""
    found = _SHAPE.fullmatch(text)
    assert found is not None
    rest = found["rest"]
    name = found["name"].strip() + (rest.removesuffix("[]") if rest not in {"", "[]"} else "")
    if name.startswith("interval"):  # "interval year to month" restricts the same type
        name = "interval"
    return name, found["length"], found["scale"], rest
