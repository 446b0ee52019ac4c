"""What hooks are given, and what they answer."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from .conflicts import Action
from .mapping import TableMapping

Row: TypeAlias = dict[str, Any]


class _Absent(enum.Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent.ABSENT
"""A column whose value the event does not carry; the target keeps what it has.  Not NULL."""


class Op(enum.StrEnum):
    """What Debezium says happened, by its one-letter code."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"
    TRUNCATE = "t"


class FilterResult(enum.Enum):
    """A filter's answer."""

    PASS = enum.auto()
    """The row belongs in the target."""
    DROP = enum.auto()
    """This event changes nothing in the target."""
    REMOVE = enum.auto()
    """The row no longer belongs in the target: apply the mapping's `on_remove`."""


# Not frozen: assigning through object.__setattr__ would triple the cost of the hot path.
@dataclass(slots=True, kw_only=True, eq=False)
class Event:
    """One change event, read-only.

    `row` holds the columns after the change, and for a delete those before it.  Times
    without zone are naive and UTC; numerics are Decimal; UUID and JSON are text.  Columns that
    the policies mask for the target are `MaskedValue`.
    """

    op: Op
    row: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    """The row before an update or delete, if the mapping declares `needs_before_image`."""
    committed_at: datetime
    """When the source committed the change, naive UTC."""
    position: int | None = None
    """The log sequence number in the source database; None for an API callback or a row of an
    incremental snapshot, which have none."""
    origin: str | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0

    def age(self, moment: datetime | None) -> timedelta:
        """How long before the change `moment` was; NULL counts as the very moment."""
        return timedelta(0) if moment is None else self.committed_at - moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a hook may know besides its event; one per plugin and mapping, made at start."""

    plugin: str
    mapping: TableMapping
    config: Any = None
    batch: bool = False
    """The rows come from a batch read of the table and not from Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row on its way to the target, after mapping and masking."""

    action: Action | None
    """None writes the row; anything else says how the key leaves."""
    key: tuple[Any, ...]
    row: Row


Changes: TypeAlias = Sequence[Change]
