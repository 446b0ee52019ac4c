"""The time, as the databases hold it."""

from __future__ import annotations

from datetime import UTC, datetime


def clock() -> datetime:
    """Now, as the databases' columns without zone hold it: UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
