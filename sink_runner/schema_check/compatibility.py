"""Check by Avro's rules whether a column planned for one schema can be read from another."""

from __future__ import annotations

import enum
import json
from typing import Any

import avro.compatibility
import avro.schema
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    SchemaIncompatibilityType,
)

from ..avro.names import adjust_name
from .shape import ColumnShape

# A planned column reads wider numbers, too: those of Python are unlimited.
_WIDEST = {"int": "long", "float": "double"}


class Reading(enum.Enum):
    """Whether a planned column can be read from a writer's row."""

    READS = enum.auto()
    MISSING = enum.auto()
    MISMATCH = enum.auto()


def reading(planned: ColumnShape, written: ColumnShape | None) -> Reading:
    """Return whether the planned column can be read; `written` is None if it is missing.

    NULL can be read even if it was not planned for: the mapping's rules decide on it.
    """
    reader = _record([(planned.name, ["null", *map(_widest, _branches(planned.avro))])])
    writer = _record([] if written is None else [(written.name, written.avro)])
    checker: Any = ReaderWriterCompatibilityChecker  # it declares no types
    found = checker().get_compatibility(reader, writer)
    if found.compatibility is SchemaCompatibilityType.compatible:
        return Reading.READS
    missing = SchemaIncompatibilityType.reader_field_missing_default_value
    return Reading.MISSING if missing in found.incompatibilities else Reading.MISMATCH


def _record(columns: list[tuple[str, Any]]) -> avro.schema.Schema:
    fields = [{"name": adjust_name(name), "type": kind} for name, kind in columns]
    return avro.schema.parse(json.dumps({"type": "record", "name": "Row", "fields": fields}))


def _branches(kind: Any) -> list[Any]:
    return [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]


def _widest(kind: Any) -> Any:
    match kind:
        case str():
            return _WIDEST.get(kind, kind)
        case {"type": "array", "items": items}:
            return kind | {"items": _each(items)}
        case {"type": str(name)} if name in _WIDEST:
            return _WIDEST[name]
        case _:
            return kind


def _each(items: Any) -> Any:
    return [_widest(branch) for branch in items] if isinstance(items, list) else _widest(items)
