"""Write a batch of changes into the target table, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from ..errors import WriteError
from ..model.changes import Change, Fold, Position, Removal, Round, Write, keep_words, rounds
from ..plugin import ABSENT, Delete, SetColumns, Strategy, TableMapping
from ..postgres.error_classes import VALUE_FAULTS, classify_error
from .conflicts import ConflictLog, reviewed
from .equal_keys import number_keys
from .parameters import key_arrays, key_texts, position_arrays, run
from .resolve import Resolver
from .statements import Statements
from .uniqueness import UniqueConstraints

Connection = psycopg.Connection[Any]


class Writer:
    """Sets of rows for one table: staged by COPY, merged in one statement, deleted in one."""

    unique: UniqueConstraints

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
        self.stale = 0
        """How many changes the last call of `write` left out, since something newer was there."""

    def prepare(self, connection: Connection) -> None:
        """Make the session's staging table, and let it tell keys as they are kept."""
        run(connection, self._sql.create_stage)
        self._sql.key_text.prepare(connection)

    def expire(self, connection: Connection, now: datetime) -> int:
        """Rows of this kind don't age."""
        del connection, now
        return 0

    @property
    def keeps_positions(self) -> bool:
        """Whether it knows where in the log the rows of the target were written."""
        return False

    def empty(self, connection: Connection, position: Position, now: datetime) -> int:
        """Delete the rows of the source table that are not newer; return how many rows."""
        del now
        given = {"mapping": self._sql.mapping, "position": position[0], "ordinal": position[1]}
        return run(connection, self._sql.empty, given).rowcount

    def write(self, connection: Connection, changes: Iterable[Change], now: datetime) -> int:
        """Write the changes in their order and return how many rows the target changed."""
        del now
        self.begin(connection)
        return sum(self.write_round(connection, part) for part in self.rounds(connection, changes))

    def begin(self, connection: Connection) -> None:
        """Prepare for the changes of one call of `write`."""
        del connection
        self.stale = 0

    def rounds(self, connection: Connection, changes: Iterable[Change]) -> list[Round]:
        """Split changes into sets of distinct keys, which have to be written in this order."""
        versioned = self._mapping.streaming and self._sql.conflict.version is not None
        return self.split(connection, list(changes), versioned=versioned)

    def split(
        self, connection: Connection, changes: Sequence[Change], *, versioned: bool
    ) -> list[Round]:
        """Split changes into rounds, as the target tells their keys apart."""
        told_apart, same = number_keys(connection, self._sql, changes)
        return rounds(told_apart, self.fold, versioned=versioned, same=same)

    def write_round(self, connection: Connection, part: Round) -> int:
        if self._sql.conflict.version is not None:
            self.stale += part.outdated
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
        self._discard_deleted(connection)
        if self._marks:
            written = run(connection, self._sql.insert).rowcount + self._patch(connection)
        else:
            written = run(connection, self._sql.upsert).rowcount
        if written < len(writes):
            self._count_outdated(connection)
        return written

    def _write_partial(self, connection: Connection, writes: Sequence[Write]) -> int:
        self._stage(connection, writes)
        self._discard_deleted(connection)
        found = run(connection, self._sql.unmatched).fetchone()
        if found is not None and found[0]:
            raise WriteError(
                "an unchanged large value is not in the event and the target has no such row; "
                "give the source table REPLICA IDENTITY FULL"
            )
        written = self._patch(connection)
        if written < len(writes):
            self._count_outdated(connection)
        return written

    def _patch(self, connection: Connection) -> int:
        if not self._sql.updates:
            return 0
        return run(connection, self._sql.patch(merge=self._merges)).rowcount

    def _discard_deleted(self, connection: Connection) -> None:
        """Leave out what is older than the deletion of its key, if there are deletions."""
        if self.remembers:
            found = run(connection, self._sql.discard_deleted, [self._sql.mapping])
            self.stale += found.rowcount

    def _count_outdated(self, connection: Connection) -> None:
        """Count the rows that lost against a newer version; the others were there already."""
        if self._sql.conflict.version is not None:
            ((outdated,),) = run(connection, self._sql.outdated).fetchall()
            self.stale += outdated

    def _stage(self, connection: Connection, writes: Sequence[Write]) -> None:
        marked = self._marks or self.remembers or any(write.partial for write in writes)
        words = len(self._sql.keeps)
        with connection.cursor() as cursor:
            cursor.execute(self._sql.clear_stage.encode())
            with cursor.copy(self._sql.copy(marked=marked).encode()) as copy:
                copy.set_types(self._sql.stage_types(marked=marked))
                for write in writes:
                    row = _marked(write, words) if marked else write.values
                    try:
                        copy.write_row(row)
                    except VALUE_FAULTS as fault:  # of psycopg's alone: a fault of ours is no row's
                        raise classify_error(fault) from fault

    # -- departures --------------------------------------------------------------------------

    def _leave(self, connection: Connection, leaves: Sequence[Removal]) -> int:
        deletes = [leave for leave in leaves if isinstance(leave.action, Delete)]
        written = self.delete(connection, deletes) if deletes else 0
        for leave in leaves:
            if isinstance(leave.action, SetColumns):
                written += self._mark(connection, leave, leave.action.values)
        return written + self._review(connection, leaves)

    def _review(self, connection: Connection, leaves: Sequence[Removal]) -> int:
        found = reviewed(leaves, self._conflicts.source_record)
        return self._conflicts.add(connection, found)

    def delete(self, connection: Connection, leaves: Sequence[Removal]) -> int:
        """Delete the rows, locking them in key order; remember it where an older event may come."""
        ordered = sorted(leaves, key=lambda leave: key_texts(leave.key))
        keys = key_arrays(leave.key for leave in ordered)
        deleted = dict(run(connection, self._sql.delete, keys).fetchall())
        if self._mapping.streaming:  # else there are batches only, one after the other
            versions = [deleted.get(at) for at in range(len(ordered))]
            parameters = [self._sql.mapping, *keys, *position_arrays(ordered), versions]
            run(connection, self._sql.remember_deleted, parameters)
            self.remembers = True
        return len(deleted)

    def _mark(self, connection: Connection, leave: Removal, values: Mapping[str, Any]) -> int:
        parameters = [*values.values(), *key_arrays([leave.key])]
        return run(connection, self._sql.mark(values), parameters).rowcount


def _marked(write: Write, words: int) -> tuple[Any, ...]:
    values = write.values
    if write.partial:
        values = tuple(None if value is ABSENT else value for value in values)
    return (*values, *keep_words(write.keep, words), *(write.position or (None, 0)))
