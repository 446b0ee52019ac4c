"""The writer's interface, and the parts of it that a plugin may take over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import psycopg

from ..errors import ValueRefusedError, own_text
from ..model.changes import Change, Position, Write, count_events
from ..model.outcome import Outcome
from ..plugin import Change as PublicChange
from ..plugin import Row
from ..postgres.loaders import load_any_moment
from ..postgres.target_column import TargetColumn
from ..transform.hook_calls import own_copy
from ..transform.row_plan import to_stage
from ..transform.steps import Chain
from .row_comparison import RowComparison
from .statements import Statements
from .uniqueness import UniqueConstraints

Connection = psycopg.Connection[Any]


@dataclass(slots=True)
class WriterState:
    """What a writer shares with the writer that it wraps."""

    has_tombstones: bool = False
    """Whether rows may be older than a deletion; set when the partitions are claimed."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many events the last call of `write` gave which outcome; the others needed none."""


class RowWriter(Protocol):
    """Writes the changes of a batch: to the table itself, or by way of candidates."""

    state: WriterState
    unique: UniqueConstraints
    """The unique constraints of the target besides the mapping's key."""
    keeps_positions: bool
    """Whether the log position of each row of the target is remembered."""

    def prepare(self, connection: Connection) -> None:
        """Create temporary tables and settings of the session; called outside any transaction."""

    def write(self, connection: Connection, changes: Sequence[Change], now: datetime) -> int:
        """Write the changes in their order and return how many rows the target changed."""

    def truncate(self, connection: Connection, position: Position, now: datetime) -> int:
        """Delete the source table's rows that are not newer than `position`; return how many."""

    def expire(self, connection: Connection, now: datetime) -> int:
        """Delete candidates that have expired; return how many rows of the target changed."""


class Resolver:
    """Calls `sink_resolve_conflict` for each staged row whose key the target has."""

    def __init__(self, statements: Statements, chain: Chain) -> None:
        self._sql = statements
        self._comparison = RowComparison(statements)
        self._chain = chain
        self._names = [column.name for column in statements.columns]

    def __call__(self, connection: Connection, writes: Sequence[Write]) -> list[Write]:
        """Return the rows to write of those that are staged; the current rows are locked."""
        chosen: dict[int, Write | None] = {}
        width = len(self._names)
        for number, differs, *values, texts in self._pairs(connection):
            if not differs:
                continue
            incoming = dict(zip(self._names, values[:width], strict=True))
            current = dict(zip(self._names, values[width:], strict=True))
            winner = self._chosen(incoming, current)
            if all(winner[name] is value for name, value in current.items()):
                chosen[number] = None
                continue
            kept = dict(zip(self._names, texts, strict=True))
            chosen[number] = self._with(writes[number], winner, incoming, current, kept)
        return [w for i, write in enumerate(writes) if (w := chosen.get(i, write)) is not None]

    def _chosen(self, incoming: Row, current: Row) -> Row:
        """Return the row that the plugin chooses; unchanged values are those of the two rows."""
        copies = own_copy(incoming), own_copy(current)
        winner = dict(self._chain.resolve(*copies))
        for row, copy in zip((incoming, current), copies, strict=True):
            same = {n: v for n, v in row.items() if winner[n] is copy[n] and v == copy[n]}
            winner.update(same)
        return winner

    def _pairs(self, connection: Connection) -> list[tuple[Any, ...]]:
        cursor = connection.cursor()
        load_any_moment(cursor)
        return cursor.execute(self._comparison.values.encode()).fetchall()

    def _with(
        self, write: Write, row: Row, incoming: Row, current: Row, kept: Mapping[str, str | None]
    ) -> Write:
        """Return the write of a plugin's row; values taken from a row keep their spelling."""

        def staged(column: TargetColumn, came: Any) -> Any:
            value = row[column.name]
            if value is incoming[column.name]:
                return came
            if value is current[column.name]:
                value = kept[column.name]
            try:
                return None if value is None else to_stage(column)(value)
            except ValueRefusedError as fault:
                raise ValueRefusedError(f"column {column.name!r}: {own_text(fault)}") from None

        pairs = zip(self._sql.columns, write.values, strict=True)
        return write._replace(values=tuple(staged(column, came) for column, came in pairs))


class PluginWriter:
    """Offers each batch to `sink_write` first; the built-in writer writes what no plugin does."""

    unique: UniqueConstraints

    def __init__(self, chain: Chain, names: Sequence[str], builtin: RowWriter) -> None:
        self._chain = chain
        self._names = names
        self._builtin = builtin
        self.state, self.keeps_positions = builtin.state, builtin.keeps_positions

    def truncate(self, connection: Connection, position: Position, now: datetime) -> int:
        return self._builtin.truncate(connection, position, now)

    def prepare(self, connection: Connection) -> None:
        self._builtin.prepare(connection)

    def expire(self, connection: Connection, now: datetime) -> int:
        return self._builtin.expire(connection, now)

    def write(self, connection: Connection, changes: Sequence[Change], now: datetime) -> int:
        written = self._chain.write(list(self._public(changes)), connection)
        if written is None:
            return self._builtin.write(connection, changes, now)
        self.state.outcomes = Counter({Outcome.WRITTEN: min(written, count_events(changes))})
        return written

    def _public(self, changes: Iterable[Change]) -> Iterable[PublicChange]:
        for change in changes:
            if isinstance(change, Write):
                row = dict(zip(self._names, change.values, strict=True))
                yield PublicChange(action=None, key=change.key, row=row)
            else:
                yield PublicChange(action=change.action, key=change.key, row={})
