"""Parse Avro schemas to a tree of types without named references.

fastavro parses and checks the JSON; this module only resolves its named references, and refuses
schemas for which a decoder might not terminate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from ..errors import DecodeError
from .names import restore_name

PRIMITIVES = frozenset(
    ("null", "boolean", "int", "long", "float", "double", "bytes", "string"),
)
NAMED = frozenset(("record", "error", "enum", "fixed"))


@dataclass(frozen=True, slots=True)
class Primitive:
    """A type without parts.  `note` is Connect's name for its meaning, "" where it has none."""

    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fixed:
    size: int


@dataclass(frozen=True, slots=True)
class Enum:
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    items: Type


@dataclass(frozen=True, slots=True)
class Map:
    values: Type


@dataclass(frozen=True, slots=True)
class Union:
    branches: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    fields: tuple[Field, ...]
    note: str = ""

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


Type: TypeAlias = Primitive | Fixed | Enum | Array | Map | Union | Record


def parse(raw: Any) -> tuple[Any, Type]:
    """Return fastavro's form of a schema, and the same as a tree; fields have their column's name.

    Logical types are left out: a value is what was written, and its meaning is read from
    Connect's annotations, the same way for every decoder.
    """
    try:
        parsed = fastavro.parse_schema(_prepared(raw))
    except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError) as exc:
        raise DecodeError(f"the registry's schema is not valid Avro: {type(exc).__name__}") from exc
    return parsed, _Resolver().resolve(parsed)


def nullable(kind: Type) -> Type:
    """Strip the null of a union of null and one other type."""
    if isinstance(kind, Union):
        others = [branch for branch in kind.branches if branch != Primitive("null")]
        if len(others) == 1:
            return others[0]
    return kind


def _prepared(raw: Any) -> Any:
    """Leave logical types out and restore the names of fields."""
    if isinstance(raw, list):
        return [_prepared(part) for part in raw]
    if isinstance(raw, dict):
        made = {
            key: _prepared(part) if key in _NESTED else part
            for key, part in raw.items()
            if key not in ("logicalType", "fields")
        }
        return made | ({"fields": _fields(raw["fields"])} if "fields" in raw else {})
    return raw


def _fields(raw: Any) -> list[Any]:
    """Return a record's fields; refuse two of one name."""
    fields = [_prepared(field) | {"name": restore_name(field["name"])} for field in raw]
    names = [field["name"] for field in fields]
    if len(set(names)) < len(names):
        raise ValueError("two fields have one name")
    return fields


_NESTED = frozenset(("type", "items", "values"))


class _Resolver:
    """Replaces names by their definitions, in the order in which Avro defines them."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}
        self._open: set[str] = set()

    def resolve(self, raw: Any) -> Type:
        if isinstance(raw, str):
            return Primitive(raw) if raw in PRIMITIVES else self._reference(raw)
        if isinstance(raw, list):
            return Union(tuple(self.resolve(branch) for branch in raw))
        return self._complex(raw)

    def _reference(self, name: str) -> Type:
        if name in self._open:
            # The message would decide how deep its decoder recurses.
            raise DecodeError(f"the schema's type {name} contains itself, which is not supported")
        return self._named[name]

    def _complex(self, raw: dict[str, Any]) -> Type:
        match raw["type"]:
            case "array":
                return Array(self._item(raw["items"]))
            case "map":
                return Map(self.resolve(raw["values"]))
            case str() as name if name in PRIMITIVES:
                return Primitive(name, raw.get("connect.name", ""))
            case str() as name if name in NAMED:
                kind = self._named[raw["name"]] = self._definition(name, raw)
                return kind
            case inner:
                return self.resolve(inner)

    def _definition(self, name: str, raw: dict[str, Any]) -> Type:
        if name == "enum":
            return Enum(tuple(raw["symbols"]))
        return Fixed(raw["size"]) if name == "fixed" else self._record(raw)

    def _record(self, raw: dict[str, Any]) -> Record:
        self._open.add(raw["name"])
        fields = tuple(Field(field["name"], self.resolve(field["type"])) for field in raw["fields"])
        self._open.remove(raw["name"])
        return Record(raw["name"], fields, raw.get("connect.name", ""))

    def _item(self, raw: Any) -> Type:
        item = self.resolve(raw)
        if narrowest(item) == 0:
            # The message could claim any number of items, without having bytes for them.
            raise DecodeError("the schema has an array of items without width")
        return item


def narrowest(kind: Type) -> int:
    """Return the least bytes that a value can take."""
    match kind:
        case Primitive(name):
            return _WIDTHS.get(name, 1)
        case Fixed(size):
            return size
        case Record():
            return sum(narrowest(field.type) for field in kind.fields)
        case _:
            return 1


_WIDTHS = {"null": 0, "float": 4, "double": 8}
