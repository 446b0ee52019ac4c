"""Hide the values of masked columns from hooks, and restore them after the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import MaskedColumnError, StepError
from ..masking.leaks import refuse_leaks
from ..model.batch import Hidden
from ..plugin import ABSENT, MaskedValue, Row, TableMapping
from ..plugin.masked_value import reveal

Columns = Mapping[str, tuple[int, Callable[[Any], Any] | None]]


class HiddenValues:
    """Replaces the values of a mapping's masked columns for its hooks, and restores them."""

    def __init__(self, mapping: TableMapping, hidden: Hidden | None) -> None:
        self._hidden = hidden or {}
        unmasked = frozenset(mapping.reads_unmasked)
        self._sources = {n: own for n, own in self._hidden.items() if n not in unmasked}
        self._targets = {
            column.name: (source, frozenset({column.name}))
            for column in mapping.columns
            for source in column.sources
            if source in self._sources
        }

    def __bool__(self) -> bool:
        """Whether the policies hide anything."""
        return bool(self._hidden)

    def refuse_leaks(
        self, rows: Sequence[Mapping[str, Any]], mapped: Iterable[tuple[str, Any, Any, Any]]
    ) -> None:
        """Raise StepError if a step copied a hidden value of `rows` into another column.

        `shown` has each column's name, its masked value, and its value after and before the steps.
        """
        moved = {name: value for name, value, new, old in mapped if new != old}
        refuse_leaks(self._hidden, rows, moved)

    def source(self, columns: Columns) -> Columns:
        """Return the columns of a source row as hooks get them."""
        return {
            name: (at, _masking(convert, name, self._sources[name]))
            if name in self._sources
            else (at, convert)
            for name, (at, convert) in columns.items()
        }

    def target(self, row: Row) -> Row:
        """Return the row as `sink_map` gets it."""
        if not self._targets:
            return row
        return {
            name: MaskedValue(value, *self._targets[name])
            if name in self._targets and value is not None and value is not ABSENT
            else value
            for name, value in row.items()
        }

    def revealed(self, row: Row, names: Sequence[str]) -> list[Any]:
        """Return the values of the row that `sink_map` returned.

        Raises StepError if a hidden value is in another column.
        """
        if not self._sources:
            return [row[name] for name in names]
        values = []
        for name in names:
            try:
                values.append(reveal(row[name], name))
            except MaskedColumnError as fault:
                text = f"carries {fault.column!r} to column {name!r} unmasked"
                raise StepError("maps", "sink_map", text) from fault
        return values


def _masking(
    convert: Callable[[Any], Any] | None, column: str, own: frozenset[str]
) -> Callable[[Any], Any]:
    if convert is None:
        return lambda value: MaskedValue(value, column, own)
    return lambda value: MaskedValue(convert(value), column, own)
