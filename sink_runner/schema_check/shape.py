"""The shape of a source table in a schema: the facts of each column that are compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..avro.conversion import effective_kind
from ..avro.names import adjust_name, restore_name
from ..avro.row_schema import row_schema
from ..avro.schema import Record, parse
from ..errors import DecodeError
from ..model.envelope import ColumnType, Kind
from ..postgres.declared_types import declared_type

SOURCE_TYPE = "__debezium.source.column.type"
SOURCE_LENGTH = "__debezium.source.column.length"
SOURCE_SCALE = "__debezium.source.column.scale"
"""What Debezium adds to a column where ``column.propagate.source.type`` is set."""

_BITS = {Kind.INT: 32, Kind.LONG: 64, Kind.FLOAT: 32, Kind.DOUBLE: 64}
_SMALL = 16


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """One column of a source row."""

    name: str
    avro: Any
    """Its type in the writer's schema, as JSON."""
    type: ColumnType
    source_type: str = ""
    """Its type in the database, in lower case; "" where the schema does not contain it."""
    length: int | None = None
    """Characters of a text or digits of a number; None: unlimited."""
    scale: int | None = None
    bits: int | None = None
    """Width of a number in binary."""

    @property
    def kind(self) -> Kind:
        return effective_kind(self.type.kind, declared_type(self.source_type or ""))

    @property
    def title(self) -> str:
        """The type as messages name it."""
        name = self.source_type or {_SMALL: "smallint"}.get(self.bits or 0, self.type.kind.value)
        if self.length is None:
            return name
        return (
            f"{name}({self.length})"
            if self.scale is None
            else f"{name}({self.length},{self.scale})"
        )


@dataclass(frozen=True, slots=True)
class RowShape:
    """The columns of a row, in the order of the table, and its primary key where it is known."""

    columns: Mapping[str, ColumnShape]
    key: tuple[str, ...] | None = None
    schema_id: int | None = None
    """Its id in the registry; None where it is from the catalog or a file."""
    fields: Iterable[Mapping[str, Any]] = field(default=(), compare=False, repr=False)
    """The columns as Avro's JSON has them."""


def row_of(schema: Any, *, key: Any = None, schema_id: int | None = None) -> RowShape | None:
    """Read the schema of an envelope or of a row; None for another schema."""
    record = _record(schema)
    if record is None:
        return None
    fields = _self_contained(record["fields"])
    columns = {entry["name"]: _column(entry) for entry in fields}
    return RowShape(columns, key_of(key), schema_id, tuple(fields))


def key_of(schema: Any) -> tuple[str, ...] | None:
    """The columns of a key's schema."""
    if schema is None:
        return None
    return tuple(restore_name(entry["name"]) for entry in schema["fields"])


def source_of(schema: Any) -> str:
    """Return the table of an event's schema, with its Avro name; "" where it has none."""
    name = schema.get("connect.name") or schema["name"]
    return avro_name(name.rpartition(".")[0] or schema.get("namespace") or "")


def avro_name(table: str) -> str:
    """Return a table's full name as Debezium writes it into a schema, with Avro's characters."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", table)


def _record(schema: Any) -> dict[str, Any] | None:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return None
    if schema["name"] == "Value":  # a row, whatever the names of its columns are
        return schema
    sides = {entry["name"]: entry["type"] for entry in schema["fields"]}
    if not {"before", "after", "op", "source"} <= sides.keys():
        return None
    for side in ("before", "after"):
        for branch in sides[side] if isinstance(sides[side], list) else ():
            if isinstance(branch, dict) and branch.get("type") == "record":
                return branch
    return None


def _column(entry: Mapping[str, Any]) -> ColumnShape:
    inner = _inner(entry["type"])
    name = entry["name"]
    written = {**entry, "name": adjust_name(name)}  # `parse` restores it
    found = row_schema(_parsed([written])).columns[name]
    parameters = inner.get("connect.parameters", {}) if isinstance(inner, dict) else {}
    small = isinstance(inner, dict) and inner.get("connect.type") == "int16"
    return ColumnShape(
        name=name,
        avro=entry["type"],
        type=found,
        source_type=parameters.get(SOURCE_TYPE, "").lower(),
        length=_number(parameters.get(SOURCE_LENGTH)),
        scale=_number(parameters.get(SOURCE_SCALE)),
        bits=_SMALL if small else _BITS.get(found.kind),
    )


def _parsed(fields: list[Mapping[str, Any]]) -> Record:
    _, kind = parse({"type": "record", "name": "Row", "fields": fields})
    if not isinstance(kind, Record):
        raise DecodeError("the schema of a row is not a record")
    return kind


def _inner(kind: Any) -> Any:
    """The one branch of a union that is not null."""
    others = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    return others[0] if len(others) == 1 else kind


def _number(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _self_contained(fields: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each field with the definitions of the types that it names."""
    named: dict[str, Any] = {}
    return [
        {"name": restore_name(one["name"]), "type": _defined(one["type"], named)} for one in fields
    ]


def _defined(kind: Any, named: dict[str, Any]) -> Any:
    match kind:
        case str():
            return named.get(kind, kind)
        case list():
            return [_defined(branch, named) for branch in kind]
        case {"type": "record" | "enum" | "fixed", "name": str(name)}:
            named[name] = named[f"{kind.get('namespace', '')}.{name}".lstrip(".")] = kind
            return kind
        case {"type": "array", "items": items}:
            return kind | {"items": _defined(items, named)}
        case _:
            return kind


def as_text(schema: Any) -> str:
    """Return a schema as text for a file: equal schemas give equal texts."""
    return json.dumps(schema, indent=1) + "\n"
