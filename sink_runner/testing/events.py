"""Make sample change events.

Columns take Python values: date, datetime, Decimal and so on.  Text that looks like a UUID or JSON
stays text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sink_runner.model.envelope import Kind

NOW = datetime(2026, 1, 15, 12, 0)  # noqa: DTZ001 - naive UTC, as the databases hold it


@dataclass(frozen=True, slots=True)
class Sample:
    """A change event; its before image is sent only where Debezium would send it."""

    op: str
    after: Mapping[str, Any] | None
    before: Mapping[str, Any] | None = None
    committed_at: datetime = NOW
    position: int = 1
    origin: str | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    moved: bool = False
    """Whether a delete is the first half of a change of the primary key."""

    def at(self, committed_at: datetime, position: int | None = None) -> Sample:
        """Return the same event at another time and position in the log."""
        place = self.position + 1 if position is None else position
        return replace(self, committed_at=committed_at, position=place)

    def by(self, origin: str) -> Sample:
        """Return the same event, written by a session with this replication origin."""
        return replace(self, origin=origin)


def create(**after: Any) -> Sample:
    return Sample("c", after)


def snapshot(**after: Any) -> Sample:
    return Sample("r", after)


def update(before: Mapping[str, Any], **changed: Any) -> Sample:
    return Sample("u", {**before, **changed}, before)


def delete(**before: Any) -> Sample:
    return Sample("d", None, before)


def truncate() -> Sample:
    """Return the TRUNCATE of the source table."""
    return Sample("t", None)


_KINDS: Mapping[type, Kind] = {
    bool: Kind.BOOLEAN,
    int: Kind.LONG,
    float: Kind.DOUBLE,
    date: Kind.DATE,
    list: Kind.ARRAY,
}


def kind_of(value: Any) -> Kind:
    """Return the kind that Debezium's schema would have for a Python value."""
    if isinstance(value, datetime):
        return Kind.TIMESTAMP_TZ if value.tzinfo else Kind.TIMESTAMP
    return _KINDS.get(type(value), Kind.STRING)


def spelled(value: Any) -> Any:
    """Return a Python value as Debezium writes it."""
    match value:
        case datetime():
            moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return moment.isoformat() + "Z"
        case date():
            return value.isoformat() + "Z"
        case Decimal():
            return str(value)
        case _:
            return value
