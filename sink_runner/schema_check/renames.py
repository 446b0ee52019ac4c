"""Find renamed columns by their positions, which never change in a table.

The decoder gets a schema in which the columns have the names that the mapping knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .schema_findings import Change
from .shape import RowShape
from .type_changes import change_of


def renamed(name: str, previous: RowShape, current: RowShape) -> str | None:
    """Return the current name of `name`, if only names differ; None if that is not certain.

    A column that is dropped and added again is the last, so positions distinguish the two cases.
    """
    if (
        name not in previous.columns
        or name in current.columns
        or len(previous.columns) != len(current.columns)
    ):
        return None
    before, after = list(previous.columns.values()), list(current.columns.values())
    pairs = list(zip(before, after, strict=True))
    if any(a.name != b.name and b.name in previous.columns for a, b in pairs):
        return None
    for old_column, new_column in pairs:
        if old_column.name == name:
            return new_column.name if change_of(old_column, new_column) is Change.NONE else None
    return None


def old_names(previous: RowShape, current: RowShape) -> dict[str, str]:
    """Return the previous name of each new name."""
    found = {renamed(name, previous, current): name for name in previous.columns}
    return {new: old for new, old in found.items() if new is not None}


def with_names(schema: Any, names: Mapping[str, str]) -> Any:
    """Return an envelope's schema with these names of columns; the encoding contains no names."""
    return _with_fields(
        schema,
        lambda fields: [one | {"name": names.get(one["name"], one["name"])} for one in fields],
    )


def with_nulls(schema: Any, columns: Iterable[str]) -> Any:
    """Return an envelope's schema with these columns added: a null has no bytes."""
    nulls = [{"name": name, "type": "null"} for name in sorted(columns)]
    return _with_fields(schema, lambda fields: [*fields, *nulls])


def _with_fields(schema: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    def side(field: dict[str, Any]) -> dict[str, Any]:
        if field["name"] not in {"before", "after"} or not isinstance(field["type"], list):
            return field
        return field | {"type": [row(branch) for branch in field["type"]]}

    def row(branch: Any) -> Any:
        if not isinstance(branch, dict) or branch.get("type") != "record":
            return branch
        return branch | {"fields": change(branch["fields"])}

    return schema | {"fields": [side(field) for field in schema["fields"]]}
