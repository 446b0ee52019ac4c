"""The arguments and the results of hooks."""

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
"""The value (not NULL) of a column that the event does not contain: the target keeps its value."""


class Op(enum.StrEnum):
    """The operation of a change event; the values are Debezium's codes."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"
    TRUNCATE = "t"


class FilterResult(enum.Enum):
    """The result of a filter hook."""

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
        """Return the time from `moment` to the change; 0 if `moment` is None."""
        return timedelta(0) if moment is None else self.committed_at - moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a hook may need besides its event; one object for each plugin and mapping."""

    plugin: str
    mapping: TableMapping
    config: Any = None
    batch: bool = False
    """True: the rows come from a batch run.  False: they come from Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change for the target, after mapping and masking."""

    action: Action | None
    """None: `row` is written.  Otherwise this action removes the key, and `row` is empty."""
    key: tuple[Any, ...]
    row: Row


Changes: TypeAlias = Sequence[Change]
