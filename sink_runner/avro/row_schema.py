"""The meaning of a writer's columns, from Avro types and Connect's annotations."""

from __future__ import annotations

from ..model.envelope import ColumnType, Kind, RowSchema
from .schema import Array, Enum, Fixed, Map, Primitive, Record, Type, nullable

_NOTED = {
    "io.debezium.data.Uuid": Kind.UUID,
    "io.debezium.data.Json": Kind.JSON,
    "io.debezium.data.Xml": Kind.XML,
    "io.debezium.data.Enum": Kind.ENUM,
    "io.debezium.time.IsoDate": Kind.DATE,
    "io.debezium.time.IsoTime": Kind.TIME,
    "io.debezium.time.ZonedTime": Kind.TIME_TZ,
    "io.debezium.time.IsoTimestamp": Kind.TIMESTAMP,
    "io.debezium.time.ZonedTimestamp": Kind.TIMESTAMP_TZ,
    "io.debezium.time.Interval": Kind.INTERVAL,
    "io.debezium.data.Ltree": Kind.STRING,
    "io.debezium.data.TsVector": Kind.STRING,
}
_BITS = "io.debezium.data.Bits"

_COMPLEX: dict[type, Kind] = {
    Fixed: Kind.BYTES,
    Enum: Kind.ENUM,
    Array: Kind.ARRAY,
    Map: Kind.MAP,
}


def row_schema(record: Record) -> RowSchema:
    """Describe the columns of a row."""
    return RowSchema({field.name: _column(field.type) for field in record.fields})


def _column(kind: Type) -> ColumnType:
    inner = nullable(kind)
    return ColumnType(
        kind=_kind(inner),
        nullable=inner is not kind,
        note=inner.note if isinstance(inner, Primitive | Record) else "",
        item=_column(inner.items) if isinstance(inner, Array) else None,
    )


def _kind(kind: Type) -> Kind:
    if not isinstance(kind, Primitive):
        return _COMPLEX.get(type(kind), Kind.OPAQUE)
    if kind == Primitive("bytes", _BITS):
        return Kind.BITS
    if kind.note:
        return _NOTED.get(kind.note, Kind.OPAQUE) if kind.name == "string" else Kind.OPAQUE
    return Kind.OPAQUE if kind.name == "null" else Kind(kind.name)
