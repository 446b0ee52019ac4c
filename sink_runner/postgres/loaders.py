"""Load dates, times and intervals that Python's types cannot hold, instead of failing on them."""

from __future__ import annotations

from datetime import UTC, date, datetime
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

_MOMENT = (datetime.min, datetime.max)  # noqa: DTZ901 - a timestamp without zone has none
_ZONED = tuple(moment.replace(tzinfo=UTC) for moment in _MOMENT)


def load_any_moment(cursor: psycopg.Cursor[Any]) -> None:
    """Let the cursor load every value of a date or time type.

    An infinity becomes the smallest or largest value that Python has, as in an event's row; a
    year before 1 or after 9999, 24:00 and an interval that is too long are loaded as their text.
    """
    adapters: AdaptersMap = cursor.adapters
    for name, loader in _LOADERS.items():
        adapters.register_loader(name, loader)


def _lenient(loader: type[Loader], first: object, last: object) -> type[Loader]:
    class Lenient(loader):  # type: ignore[valid-type,misc]  # a base class that is an argument
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                text = bytes(data).decode()
                return {"infinity": last, "-infinity": first}.get(text, text)

    return Lenient


_LOADERS: dict[str, type[Loader]] = {
    "date": _lenient(DateLoader, date.min, date.max),
    "timestamp": _lenient(TimestampLoader, *_MOMENT),
    "timestamptz": _lenient(TimestamptzLoader, *_ZONED),
    "time": _lenient(TimeLoader, None, None),
    "timetz": _lenient(TimetzLoader, None, None),
    "interval": _lenient(IntervalLoader, None, None),
}
