"""Dates and moments of Python that stand for the infinities of PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime


class InfiniteDate(date):
    """The first or last date of Python's calendar, standing for an infinity of PostgreSQL's."""

    def isoformat(self) -> str:
        """Return PostgreSQL's spelling, so that an infinity is written as one."""
        return _infinity(self)


class InfiniteTimestamp(datetime):
    """The first or last moment of Python's calendar, standing for an infinity of PostgreSQL's."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        """Return PostgreSQL's spelling, so that an infinity is written as one."""
        del sep, timespec
        return _infinity(self)


def _infinity(value: date) -> str:
    return "infinity" if value.year == date.max.year else "-infinity"


INFINITE_DATES = {
    "-infinity": InfiniteDate(1, 1, 1),
    "infinity": InfiniteDate(9999, 12, 31),
}
INFINITE_MOMENTS = {
    "-infinity": InfiniteTimestamp(1, 1, 1),
    "infinity": InfiniteTimestamp(9999, 12, 31, 23, 59, 59, 999_999),
}
INFINITE_ZONED = {name: moment.replace(tzinfo=UTC) for name, moment in INFINITE_MOMENTS.items()}
