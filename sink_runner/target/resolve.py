"""The parts of a write that a plugin may take over: which row stays, or the whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import psycopg

from ..chain.row import check_whole, to_stage
from ..chain.steps import Chain
from ..plugin import Change as PublicChange
from ..plugin import Row
from .changes import Change, Write
from .statements import Statements

Connection = psycopg.Connection[Any]


class RowWriter(Protocol):
    """What writes a batch's changes: to the table itself, or by way of candidates."""

    remembers: bool
    """The target has deletions to heed; set when the partitions are claimed."""

    def prepare(self, connection: Connection) -> None:
        """Make what the session needs; outside any transaction."""

    def write(self, connection: Connection, changes: Sequence[Change], now: datetime) -> int:
        """Write the changes in their order and return how many rows the target changed."""

    def expire(self, connection: Connection, now: datetime) -> int:
        """Retire what has aged, if rows of this kind do."""


class Resolver:
    """Asks `sink_resolve_conflict` wherever the target already has a staged key."""

    def __init__(self, statements: Statements, chain: Chain) -> None:
        self._sql = statements
        self._chain = chain
        self._names = [column.name for column in statements.columns]

    def __call__(self, connection: Connection, writes: Sequence[Write]) -> list[Write]:
        """What is left to write of the staged rows, whose current rows are locked now."""
        chosen: dict[int, Write | None] = {}
        width = len(self._names)
        for number, *values in connection.execute(self._sql.pairs.encode()).fetchall():
            incoming = dict(zip(self._names, values[:width], strict=True))
            current = dict(zip(self._names, values[width:], strict=True))
            if incoming != current:
                winner = self._chain.resolve(incoming, current)
                write = writes[number]
                chosen[number] = None if winner == current else self._with(write, winner)
        return [w for i, write in enumerate(writes) if (w := chosen.get(i, write)) is not None]

    def _with(self, write: Write, row: Row) -> Write:
        check_whole(row, self._names)
        values = tuple(
            None if row[column.name] is None else to_stage(column)(row[column.name])
            for column in self._sql.columns
        )
        return write._replace(values=values)


class PluginWriter:
    """Offers each batch to `sink_write` first; the built-in writer takes what nobody took."""

    def __init__(self, chain: Chain, names: Sequence[str], builtin: RowWriter) -> None:
        self._chain = chain
        self._names = names
        self._builtin = builtin

    @property
    def remembers(self) -> bool:
        return self._builtin.remembers

    @remembers.setter
    def remembers(self, value: bool) -> None:
        self._builtin.remembers = value

    def prepare(self, connection: Connection) -> None:
        self._builtin.prepare(connection)

    def expire(self, connection: Connection, now: datetime) -> int:
        return self._builtin.expire(connection, now)

    def write(self, connection: Connection, changes: Sequence[Change], now: datetime) -> int:
        written = self._chain.write(list(self._public(changes)), connection)
        return self._builtin.write(connection, changes, now) if written is None else written

    def _public(self, changes: Iterable[Change]) -> Iterable[PublicChange]:
        for change in changes:
            if isinstance(change, Write):
                row = dict(zip(self._names, change.values, strict=True))
                yield PublicChange(action=None, key=change.key, row=row)
            else:
                yield PublicChange(action=change.action, key=change.key, row={})
