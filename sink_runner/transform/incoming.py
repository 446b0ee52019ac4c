"""One decoded event as the chain sees it, and as a plugin's hooks see it."""

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
    """The wanted columns of one writer schema, after and before the change."""

    after: Sequence[SourceColumn]
    before: Sequence[SourceColumn]


class SourceRow(Mapping[str, Any]):
    """A source row for hooks: values become Python objects when they are read."""

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
            # Only a name that stands in the function's code is certainly no value of a row.
            literal = column in sys._getframe(1).f_code.co_consts  # noqa: SLF001 - no public way
            raise UnreadColumnError(column if literal else None) from None
        value = self._values[at]
        return value if value is None or value is ABSENT or convert is None else convert(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Plans(NamedTuple):
    """A mapping's compiled steps for one shape of the source row."""

    row: RowPlan
    old: RowPlan
    """The row before the change, whatever it held; no rule is for what was written long ago."""
    key: RowPlan
    """Over the row before the change."""
    leaving: RowPlan
    """The key over the row after it, whatever its other columns hold."""
    whole: bool
    """Whether the writer's schema has every column."""
    columns: Columns
    """Where a source column stands and what makes it a Python value."""
    seen: Columns
    """The same as hooks see it: what the policies mask is a `MaskedValue`."""


def position_of(decoded: Decoded) -> Position | None:
    """Return where a change stands in the source's log, in the order of the commits.

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
    """An event on its way: the message, what it decodes to, the steps for its shape."""

    message: Message
    decoded: Decoded
    plans: Plans

    @property
    def position(self) -> Position | None:
        """Where the change stands in the source's log."""
        return position_of(self.decoded)

    def row(self, values: Sequence[Any]) -> SourceRow:
        """A row of the event with all of its values."""
        return SourceRow(values, self.plans.columns)

    def event(self, row: Sequence[Any], *, with_before: bool) -> Event:
        """The event for hooks, with `row` as its row."""
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
