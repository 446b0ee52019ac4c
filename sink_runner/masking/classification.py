"""Read `classification.json`, which says for all databases which columns are personal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import PolicyError
from .policy_json import check_fields, texts_of, value_of
from .policy_resource import LEVELS

CLASSIFICATION = "classification.json"
Name = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Columns by (database, schema, table, column), in lower case."""

    tags: Mapping[Name, frozenset[str]] = field(default_factory=dict)
    not_personal: frozenset[Name] = frozenset()
    """Columns that look personal and were declared not to be."""


def read_classification(content: dict[str, Any]) -> Classification:
    """Return the classification of the file's object; refuse a column that it names twice."""
    where = CLASSIFICATION
    fields = {"tags", "columns", "not_personal"}
    check_fields(content, where, fields, {"version", "description"}, set())
    known = value_of(content, "tags", dict, where)
    tags: dict[Name, frozenset[str]] = {}
    for name, place, columns, column in _columns(content, "columns"):
        _once(name, tags, place)
        tags[name] = frozenset(texts_of(columns, column, f"{where}: {place}"))
        if tags[name] - set(known):
            raise PolicyError(f"{where}: {place}: no such tag: {sorted(tags[name] - set(known))}")
    plain: set[Name] = set()
    for name, place, columns, column in _columns(content, "not_personal"):
        _once(name, {**tags, **dict.fromkeys(plain)}, place)
        value_of(columns, column, str, f"{where}: {place}, the reason")
        plain.add(name)
    return Classification(tags=tags, not_personal=frozenset(plain))


def _columns(content: dict[str, Any], part: str) -> list[tuple[Name, str, dict[str, Any], str]]:
    if part == "not_personal" and part not in content:
        return []
    tables = value_of(content, part, dict, CLASSIFICATION)
    return [
        (tuple(f"{table}.{column}".lower().split(".")), f"{table}.{column}", tables[table], column)
        for table in tables
        for column in value_of(tables, table, dict, CLASSIFICATION)
    ]


def _once(name: Name, known: Mapping[Name, Any], place: str) -> None:
    if len(name) != len(LEVELS) or name in known:
        raise PolicyError(
            f"{CLASSIFICATION}: {place}: write database.schema.table.column, and each once"
        )
