"""Write a batch of changes into the target table, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from ..errors import WriteError
from ..plugin import ABSENT, Delete, Mark, Strategy, TableMapping
from .changes import Change, Key, Leave, Round, Write, rounds
from .conflicts import ConflictLog, reviewed
from .faults import VALUE_FAULTS, judge
from .folding import Fold
from .resolve import Resolver
from .statements import Statements

Connection = psycopg.Connection[Any]


class Writer:
    """Sets of rows for one table: staged by COPY, merged in one statement, deleted in one."""

    def __init__(
        self,
        mapping: TableMapping,
        statements: Statements,
        fold: Fold | None,
        *,
        conflicts: ConflictLog,
        resolver: Resolver | None = None,
    ) -> None:
        self._mapping = mapping
        self._sql = statements
        self.fold = fold
        self._conflicts = conflicts
        self._resolver = resolver
        self._merges = mapping.conflict.strategy is Strategy.MERGE_CHANGED
        self._marks = self._merges or statements.positioned
        self.remembers = False
        """The target has deletions to heed; set when the partitions are claimed."""

    def prepare(self, connection: Connection) -> None:
        """Make the session's staging table, and let it tell keys as they are kept."""
        run(connection, self._sql.create_stage)
        self._sql.key_text.prepare(connection)

    def expire(self, connection: Connection, now: datetime) -> int:
        """Rows of this kind don't age."""
        del connection, now
        return 0

    def write(self, connection: Connection, changes: Iterable[Change], now: datetime) -> int:
        """Write the changes in their order and return how many rows the target changed."""
        del now
        return sum(self.write_round(connection, part) for part in rounds(changes, self.fold))

    def write_round(self, connection: Connection, part: Round) -> int:
        written = self._leave(connection, list(part.leaves.values()))
        whole = [w for w in part.writes.values() if not w.partial]
        partial = [w for w in part.writes.values() if w.partial]
        if whole:
            written += self._write_whole(connection, whole)
        if partial:
            written += self._write_partial(connection, partial)
        return written

    # -- rows --------------------------------------------------------------------------------

    def _write_whole(self, connection: Connection, writes: Sequence[Write]) -> int:
        self._stage(connection, writes)
        if self._resolver is not None:
            writes = self._resolver(connection, writes)
            self._stage(connection, writes)
        if not self._merges:
            return self._run(connection, self._sql.upsert(remembered=self.remembers)).rowcount
        inserted = self._run(connection, self._sql.insert(remembered=self.remembers)).rowcount
        return inserted + self._patch(connection)

    def _write_partial(self, connection: Connection, writes: Sequence[Write]) -> int:
        self._stage(connection, writes)
        found = self._run(connection, self._sql.unmatched(remembered=self.remembers)).fetchone()
        if found is not None and found[0]:
            raise WriteError(
                "an unchanged large value is not in the event and the target has no such row; "
                "give the source table REPLICA IDENTITY FULL"
            )
        if self._mapping.conflict.strategy is Strategy.INSERT_ONCE:
            return 0
        return self._patch(connection)

    def _patch(self, connection: Connection) -> int:
        query = self._sql.patch(merge=self._merges, remembered=self.remembers)
        return self._run(connection, query).rowcount

    def _stage(self, connection: Connection, writes: Sequence[Write]) -> None:
        marked = self._marks or self.remembers or any(write.partial for write in writes)
        with connection.cursor() as cursor:
            cursor.execute(self._sql.clear_stage.encode())
            with cursor.copy(self._sql.copy(marked=marked).encode()) as copy:
                copy.set_types(self._sql.stage_types(marked=marked))
                try:
                    for write in writes:
                        copy.write_row(_marked(write) if marked else write.values)
                except VALUE_FAULTS as fault:
                    raise judge(fault) from fault

    def _run(self, connection: Connection, query: str) -> psycopg.Cursor[Any]:
        """Run a statement that heeds deletions, if there are some."""
        parameters = {"mapping": self._sql.mapping} if self.remembers else None
        return run(connection, query, parameters)

    # -- departures --------------------------------------------------------------------------

    def _leave(self, connection: Connection, leaves: Sequence[Leave]) -> int:
        deletes = [leave for leave in leaves if isinstance(leave.action, Delete)]
        written = self.delete(connection, deletes) if deletes else 0
        for leave in leaves:
            if isinstance(leave.action, Mark):
                written += self._mark(connection, leave, leave.action.values)
        return written + self._conflicts.add(connection, reviewed(leaves))

    def delete(self, connection: Connection, leaves: Sequence[Leave]) -> int:
        """Delete the rows, locking them in key order; remember it where an older event may come."""
        ordered = sorted(leaves, key=lambda leave: _texts(leave.key))
        keys = key_arrays(leave.key for leave in ordered)
        deleted = run(connection, self._sql.delete, keys).rowcount
        if self._mapping.events:  # else there are batches only, one after the other
            positions = [leave.position for leave in ordered]
            run(connection, self._sql.remember_deleted, [self._sql.mapping, *keys, positions])
            self.remembers = True
        return deleted

    def _mark(self, connection: Connection, leave: Leave, values: Mapping[str, Any]) -> int:
        parameters = [*values.values(), *key_arrays([leave.key])]
        return run(connection, self._sql.mark(values), parameters).rowcount


def run(
    connection: Connection, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
) -> psycopg.Cursor[Any]:
    return connection.execute(query.encode(), parameters)


def _texts(key: Key) -> tuple[str, ...]:
    return tuple(str(part) for part in key)


def key_arrays(keys: Iterable[Key]) -> list[list[str]]:
    """Keys as one array of text for each key column."""
    return [list(column) for column in zip(*map(_texts, keys), strict=True)]


def _marked(write: Write) -> tuple[Any, ...]:
    values = write.values
    if write.partial:
        values = tuple(None if value is ABSENT else value for value in values)
    return (*values, write.keep, write.position)
