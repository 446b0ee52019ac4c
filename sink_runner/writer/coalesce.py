"""Decide which of two rows of a key in a batch can be left out without a different outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ..model.changes import Fold
from ..plugin import Conflict, Strategy
from ..postgres.target_column import TargetColumn

_WHOLE = ("int2", "int4", "int8")
_MOMENTS = ("date", "timestamp", "timestamptz")
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def fold_of(conflict: Conflict, columns: Sequence[TargetColumn]) -> Fold | None:
    """Return the rule of a mapping; None if every row has to be written.

    That is so if the second row does not replace all of the first one (columns that are written on
    insert only, values that a later NULL does not overwrite), or if only the database can compare
    the versions.
    """
    if conflict.strategy is Strategy.INSERT_ONCE:
        return _earlier
    if conflict.strategy is Strategy.MERGE_CHANGED:
        return None
    if any(column.column.insert_only and column.column.sources for column in columns):
        return None
    if conflict.strategy is Strategy.SOURCE_WINS:
        return _later
    return _newer(conflict.version, columns)


def _earlier(_before: tuple[Any, ...], _after: tuple[Any, ...]) -> bool:
    return False


def _later(_before: tuple[Any, ...], _after: tuple[Any, ...]) -> bool:
    return True


def _newer(version: str | None, columns: Sequence[TargetColumn]) -> Fold | None:
    for at, column in enumerate(columns):
        if column.name == version and column.pg.is_builtin(*_WHOLE, *_MOMENTS):
            read: Callable[[Any], Any] = _number if column.pg.is_builtin(*_WHOLE) else _moment
            return lambda before, after: bool(read(after[at]) >= read(before[at]))
    return None


def _number(value: int | None) -> tuple[bool, int]:
    return (value is not None, value or 0)


def _moment(value: str | None) -> tuple[bool, datetime]:
    """Return a value that orders moments, also NULL and those beyond Python's calendar."""
    if value is None:
        return (False, _EARLIEST)
    if value.startswith("-") or value.endswith("BC"):
        return (True, _EARLIEST)
    try:
        # Debezium appends Z to a date as well, which Python permits in a time only.
        moment = datetime.fromisoformat(value.removesuffix("Z"))
    except ValueError:
        return (True, _LATEST)
    return (True, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
