"""Load dates, times and intervals that Python's types cannot hold, instead of failing on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.abc import Buffer, Loader
from psycopg.adapt import AdaptersMap
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)
from psycopg.types.string import TextLoader

from .infinity import INFINITE_DATES, INFINITE_MOMENTS, INFINITE_ZONED

_RANGES = ("int4", "int8", "num", "date", "ts", "tstz")
_RESPELLED = (
    *("interval", "json", "jsonb"),
    *(f"{name}{kind}" for name in _RANGES for kind in ("range", "multirange")),
)
"""Types whose values Python's types do not keep: a month becomes 30 days, and 1.50 in JSON 1.5."""


def load_any_moment(cursor: psycopg.Cursor[Any]) -> None:
    """Let the cursor load every value of a date or time type.

    An infinity becomes the smallest or largest value that Python has, as in an event's row; a
    year before 1 or after 9999, 24:00 and an interval that is too long are loaded as their text.
    """
    adapters: AdaptersMap = cursor.adapters
    for name, loader in _LOADERS.items():
        adapters.register_loader(name, loader)


def load_as_stored(cursor: psycopg.Cursor[Any]) -> None:
    """As `load_any_moment`, and load as text what Python would not give back as it was."""
    load_any_moment(cursor)
    for name in _RESPELLED:
        cursor.adapters.register_loader(name, TextLoader)


def _lenient(loader: type[Loader], infinities: Mapping[str, object]) -> type[Loader]:
    class Lenient(loader):  # type: ignore[valid-type,misc]  # a base class that is an argument
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                text = bytes(data).decode()
                return infinities.get(text, text)

    return Lenient


_LOADERS: dict[str, type[Loader]] = {
    "date": _lenient(DateLoader, INFINITE_DATES),
    "timestamp": _lenient(TimestampLoader, INFINITE_MOMENTS),
    "timestamptz": _lenient(TimestamptzLoader, INFINITE_ZONED),
    "time": _lenient(TimeLoader, {}),
    "timetz": _lenient(TimetzLoader, {}),
    "interval": _lenient(IntervalLoader, {}),
}
