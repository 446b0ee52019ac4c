"""Write the changes of a batch to the target table, inside the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from ..errors import WriteError
from ..model.changes import (
    Change,
    Fold,
    Position,
    Removal,
    Wave,
    Write,
    count_events,
    keep_words,
    split_waves,
)
from ..model.outcome import Outcome
from ..plugin import ABSENT, Delete, SetColumns, Strategy, TableMapping
from ..postgres.error_classes import VALUE_FAULTS, classify_error
from .conflicts import ConflictLog, review_conflicts
from .equal_keys import number_keys
from .parameters import key_arrays, key_texts, position_arrays, run
from .resolve import Resolver, WriterState
from .row_version import RowVersionStatements
from .statements import Statements
from .uniqueness import UniqueConstraints

Connection = psycopg.Connection[Any]


class Writer:
    """Writes sets of rows: stages them by COPY, and merges or deletes them in one statement."""

    unique: UniqueConstraints
    keeps_positions = False

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
        self._versions = RowVersionStatements(statements)
        self.fold = fold
        self._conflicts = conflicts
        self._resolver = resolver
        self._merges = mapping.conflict.strategy is Strategy.MERGE_CHANGED
        self.state = WriterState()

    def prepare(self, connection: Connection) -> None:
        """Create the session's staging table and prepare the session for hashes of keys."""
        run(connection, self._sql.create_stage)
        self._sql.key_text.prepare(connection)

    def expire(self, connection: Connection, now: datetime) -> int:
        """Do nothing: rows of a target do not expire."""
        del connection, now
        return 0

    def truncate(self, connection: Connection, position: Position, now: datetime) -> int:
        """Delete the source table's rows that are not newer than `position`; return how many."""
        del now
        lsn, ordinal = position
        parameters = {"mapping": self._sql.mapping, "position": lsn, "ordinal": ordinal}
        return run(connection, self._versions.truncate, parameters).rowcount

    def write(self, connection: Connection, changes: Iterable[Change], now: datetime) -> int:
        """Write the changes in their order and return how many rows the target changed."""
        del now
        self.begin(connection)
        return sum(self.write_wave(connection, wave) for wave in self.waves(connection, changes))

    def begin(self, connection: Connection) -> None:
        """Prepare for the changes of one call of `write`."""
        del connection
        self.state.outcomes = Counter()

    def waves(self, connection: Connection, changes: Iterable[Change]) -> list[Wave]:
        """Split changes into waves, which have to be written in their order."""
        versioned = self._mapping.streaming and self._sql.conflict.version is not None
        return self.split(connection, list(changes), versioned=versioned)

    def split(
        self, connection: Connection, changes: Sequence[Change], *, versioned: bool
    ) -> list[Wave]:
        """Split changes into waves; keys that the target finds equal are one key."""
        kept, numbers = number_keys(connection, self._sql, changes)
        return split_waves(kept, self.fold, versioned=versioned, numbers=numbers)

    def write_wave(self, connection: Connection, wave: Wave) -> int:
        """Write one wave and return how many rows the target changed."""
        self.state.outcomes[Outcome.SUPERSEDED] += wave.superseded
        if self._sql.conflict.version is not None:
            self.state.outcomes[Outcome.STALE] += wave.outdated
        removed = self._remove(connection, list(wave.removals.values()))
        whole = [w for w in wave.writes.values() if not w.partial]
        partial = [w for w in wave.writes.values() if w.partial]
        written = self._write_whole(connection, whole) if whole else 0
        if partial:
            written += self._write_partial(connection, partial)
        self.state.outcomes[Outcome.WRITTEN] += written
        return removed + written

    # -- rows --------------------------------------------------------------------------------

    def _write_whole(self, connection: Connection, writes: Sequence[Write]) -> int:
        self._stage(connection, writes)
        if self._resolver is not None:
            writes = self._resolver(connection, writes)
            self._stage(connection, writes)
        self._discard_deleted(connection)
        if self._merges or self._sql.positioned:
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
        """Leave out the staged rows that are older than the tombstone of their key."""
        if self.state.has_tombstones:
            discarded = run(connection, self._versions.discard_deleted, [self._sql.mapping])
            self.state.outcomes[Outcome.STALE] += discarded.rowcount

    def _count_outdated(self, connection: Connection) -> None:
        """Count the rows that are older than the target's; the other unwritten ones are equal."""
        if self._sql.conflict.version is not None:
            ((outdated,),) = run(connection, self._sql.outdated).fetchall()
            self.state.outcomes[Outcome.STALE] += outdated

    def _stage(self, connection: Connection, writes: Sequence[Write]) -> None:
        controlled = (
            self._merges
            or self._sql.positioned
            or self.state.has_tombstones
            or any(write.partial for write in writes)
        )
        words = len(self._sql.keeps)
        with connection.cursor() as cursor:
            cursor.execute(self._sql.clear_stage.encode())
            with cursor.copy(self._sql.copy(controlled=controlled).encode()) as copy:
                copy.set_types(self._sql.stage_types(controlled=controlled))
                for write in writes:
                    row = _with_controls(write, words) if controlled else write.values
                    try:
                        copy.write_row(row)
                    except VALUE_FAULTS as fault:  # errors of the runner are not data errors
                        raise classify_error(fault) from fault

    # -- removals ----------------------------------------------------------------------------

    def _remove(self, connection: Connection, removals: Sequence[Removal]) -> int:
        deletions = [removal for removal in removals if isinstance(removal.action, Delete)]
        written = self.delete(connection, deletions) if deletions else 0
        for removal in removals:
            if isinstance(removal.action, SetColumns):
                changed = self._set_columns(connection, removal, removal.action.values)
                self.count_removed([removal] * changed)
                written += changed
        found = review_conflicts(removals, self._conflicts.source_record)
        recorded = self._conflicts.add(connection, found)
        self.state.outcomes[Outcome.CONFLICT] += min(recorded, count_events(removals))
        return written + recorded

    def count_removed(self, removals: Iterable[Removal]) -> None:
        """Count the events that removed a row."""
        self.state.outcomes[Outcome.REMOVED] += count_events(removals)

    def delete(self, connection: Connection, removals: Sequence[Removal]) -> int:
        """Delete rows, locking them in key order; leave tombstones if older events may come."""
        ordered = sorted(removals, key=lambda removal: key_texts(removal.key))
        keys = key_arrays(removal.key for removal in ordered)
        deleted = dict(run(connection, self._sql.delete, keys).fetchall())
        if self._mapping.streaming:  # batch runs come one after the other
            versions = [deleted.get(at) for at in range(len(ordered))]
            parameters = [self._sql.mapping, *keys, *position_arrays(ordered), versions]
            run(connection, self._versions.remember_deleted, parameters)
            self.state.has_tombstones = True
        self.count_removed(ordered[at] for at in deleted)
        return len(deleted)

    def _set_columns(
        self, connection: Connection, removal: Removal, values: Mapping[str, Any]
    ) -> int:
        parameters = [*values.values(), *key_arrays([removal.key])]
        return run(connection, self._sql.set_columns(values), parameters).rowcount


def _with_controls(write: Write, words: int) -> tuple[Any, ...]:
    values = write.values
    if write.partial:
        values = tuple(None if value is ABSENT else value for value in values)
    return (*values, *keep_words(write.keep, words), *(write.position or (None, 0)))
