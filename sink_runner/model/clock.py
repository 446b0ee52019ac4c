"""The current time, in the form of the databases' columns."""

from __future__ import annotations

from datetime import UTC, datetime


def clock() -> datetime:
    """Return the current time in UTC, naive as in the databases' columns without time zone."""
    return datetime.now(UTC).replace(tzinfo=None)
