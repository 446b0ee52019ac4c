"""One decoded event, for the steps of the runner and for the hooks of plugins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..errors import UnreadColumnError
from ..model.changes import Position
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import ABSENT, Event, Op
from .hidden_values import Columns
from .row_plan import RowPlan, SourceColumn


class Shape(NamedTuple):
    """The columns that a mapping reads of one writer schema, after and before the change."""

    after: Sequence[SourceColumn]
    before: Sequence[SourceColumn]


class SourceRow(Mapping[str, Any]):
    """A source row for hooks, which converts a value to a Python object when it is read."""

    __slots__ = ("_columns", "_values")

    def __init__(
        self,
        values: Sequence[Any],
        columns: Mapping[str, tuple[int, Callable[[Any], Any] | None]],
    ) -> None:
        self._values = values
        self._columns = columns

    def __getitem__(self, column: str) -> Any:
        try:
            at, convert = self._columns[column]
        except KeyError:
            # A name that is not a constant of the function's code may be a value of the row.
            literal = column in sys._getframe(1).f_code.co_consts  # noqa: SLF001 - no public way
            raise UnreadColumnError(column if literal else None) from None
        value = self._values[at]
        return value if value is None or value is ABSENT or convert is None else convert(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Plans(NamedTuple):
    """The compiled plans of a mapping for one shape of the source row."""

    row: RowPlan
    old: RowPlan
    """Of the before image, without quality rules: it was written under other rules perhaps."""
    key: RowPlan
    """The target's key, of the before image."""
    leaving: RowPlan
    """The target's key, of the row after the change."""
    whole: bool
    """Whether the writer's schema has every column that the mapping reads."""
    columns: Columns
    """The index of each source column, and the function that makes it a Python value."""
    seen: Columns
    """`columns` as hooks see them: a value that the policies mask is a `MaskedValue`."""


def position_of(decoded: Decoded) -> Position | None:
    """Return the position of a change in the source's log, in the order of the commits.

    A change may have a smaller LSN than one that was committed before it: an INSERT is in the log
    before it waits for the transaction that holds its key.  So the LSN counts only if it is later
    than the last commit before the change's own transaction.
    """
    lsn, sequence = decoded.lsn, decoded.sequence
    if lsn is None:
        return None
    if sequence and decoded.order:  # '["<last commit>","<this change>"]', the first may be null
        committed = sequence[2:].partition('"')[0]
        if committed.isdecimal():
            lsn = max(lsn, int(committed))
    return lsn, decoded.order


class Incoming(NamedTuple):
    """An event with its message and the plans for its shape."""

    message: Message
    decoded: Decoded
    plans: Plans

    @property
    def position(self) -> Position | None:
        """The position of the change in the source's log."""
        return position_of(self.decoded)

    def row(self, values: Sequence[Any]) -> SourceRow:
        """Return a row of the event with its values unmasked."""
        return SourceRow(values, self.plans.columns)

    def event(self, row: Sequence[Any], *, with_before: bool) -> Event:
        """Return the event for hooks, with `row` as its row."""
        message, decoded, plans = self
        before = decoded.before if with_before else None
        committed = datetime.fromtimestamp((decoded.ts_ms or 0) / 1000, UTC)
        return Event(
            op=Op(decoded.op),
            row=SourceRow(row, plans.seen),
            before=None if before is None else SourceRow(before, plans.seen),
            committed_at=committed.replace(tzinfo=None),
            position=decoded.lsn,
            origin=decoded.origin,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
        )
