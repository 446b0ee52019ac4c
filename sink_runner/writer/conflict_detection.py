"""Detect conflicts in rows that two sides write.

What counts as a conflict depends on the strategy.

newest wins     Both sides set the version, which must never decrease in a row, whatever the clock
                says.  It is a conflict if the incoming row has an older version, or the same
                version with other values, and the event's before image is not the target's row:
                then each side changed the row without the other's change.  The older version
                loses (timestamp_conflict); with equal versions the tie rule decides
                (data_conflict).  A replay, which the log position shows, causes none, and a row
                that has lost a tie stays lost.  Two mappings that write to each other's source
                end with equal rows if one has the tie rule SOURCE and the other TARGET.
merge changed   Only the source sets the version, so an older version or a replay is never a
                conflict.  What counts is each column that the event changes: if the target has
                neither the value before nor the value after the change, the owner has set it.  If
                the owner's change is not earlier by `owner_time`, to the second, the newer version
                still wins, and a timestamp_conflict is recorded; with equal versions it is a
                data_conflict and the tie rule decides.
source wins     None: the owner's changes are overwritten by design.
insert once     None: the existing row stays by design.
candidates      None: only the runner writes rows that are derived from them.

A row that was read from the table has no before image; it conflicts only with a row of the same
version, and with merge changed not even then.  A deletion is a conflict if the mapping has Review,
and a person always decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import psycopg

from ..model.changes import Key, Wave, Write, without_reviews
from ..model.outcome import Outcome
from ..plugin import ConflictDetection, Tie
from .conflicts import REVIEW, SOURCE_WINS, TARGET_WINS, Found
from .parameters import run
from .row_comparison import RowComparison
from .versions import VersionedWriter, without
from .writer import Writer

Connection = psycopg.Connection[Any]
TIMESTAMP = "timestamp_conflict"
DATA = "data_conflict"


class RowPair(NamedTuple):
    """An incoming row and the target's row of its key, compared by the database."""

    write: Write
    differs: Sequence[bool]
    """For each staged column, whether the two values differ as the target stores them."""
    is_null: Sequence[bool]
    """For each staged column, whether the new value is NULL."""
    new: Sequence[str | None]
    current: Sequence[str | None]
    same_version: bool
    unversioned: bool
    """The target's row has no version."""
    newer: bool
    older: bool
    overlaps: bool
    """The target's row was written in the second of the source's change, or after it."""


class ContestedWriter(VersionedWriter):
    """Records conflicts before it writes, and leaves out the rows that lose by the tie rule."""

    def write_wave(self, connection: Connection, wave: Wave) -> int:
        writes = list(wave.writes.values())
        seen = self._compare(connection, self._versions.seen, writes)
        whole = [write for write in writes if not write.partial]
        lost = self._settle(connection, whole, seen) if whole else set()
        removals = without_reviews(wave.removals.values())
        late = self._leave_stale(connection, removals)
        kept = replace(
            wave, writes=without(wave.writes, lost), removals=without(wave.removals, late)
        )
        written = Writer.write_wave(self, connection, kept)
        # A read has the position of its whole snapshot, which may include the change of an event.
        self._remember(connection, [w for w in writes if w.keep >= 0 and w.key not in seen])
        return written

    def _settle(self, connection: Connection, writes: Sequence[Write], seen: set[Key]) -> set[Key]:
        """Record the conflicts; return the keys whose rows in the target stay."""
        found = []
        news, lost = self._news(connection, writes, seen)
        for met, based in news:
            kind = self._kind(met, based)
            if kind is None:
                continue
            stays, action = self._outcome(kind)
            if stays:
                lost.add(met.write.key)
                self.state.outcomes[Outcome.CONFLICT] += 1
            names = [self._names[i] for i in self._differing(met)]
            found.append(
                Found(
                    kind,
                    self._conflicts.record(met.write.key),
                    action,
                    {name: met.new[self._names.index(name)] for name in names},
                    {name: met.current[self._names.index(name)] for name in names},
                )
            )
        self._conflicts.add(connection, found)
        return lost

    # -- pairs of rows -------------------------------------------------------------------------

    def _news(
        self, connection: Connection, writes: Sequence[Write], seen: set[Key]
    ) -> tuple[list[tuple[RowPair, RowPair | None]], set[Key]]:
        """Return the rows that would change a target row, each with its before image or None.

        Also return the keys of repeated changes: written again, they would undo the decision of a
        tie, or a later change of the owner.
        """
        met = [one for one in self._beside(connection, writes) if self._differing(one)]
        again = {one.write.key for one in met if one.write.key in seen and one.same_version}
        gone = again if self._merges else seen  # the changes of two sources have no common order
        met = [one for one in met if one.write.key not in gone]
        known = [one.write._replace(values=one.write.base) for one in met if one.write.base]
        bases = {one.write.key: one for one in self._beside(connection, known)}
        return [(one, bases.get(one.write.key)) for one in met], again

    def _beside(self, connection: Connection, writes: Sequence[Write]) -> list[RowPair]:
        if not writes:
            return []
        self._stage(connection, writes)
        found = run(connection, self._comparison).fetchall()
        return [RowPair(writes[number], *compared) for number, *compared in found]

    # -- outcome -------------------------------------------------------------------------------

    def _kind(self, met: RowPair, base: RowPair | None) -> str | None:
        """Return the type of the conflict, or None; `base` is the before image."""
        contested = self._differing(met)
        if base is not None and (self._merges or base.same_version):
            contested = [i for i in contested if base.differs[i]]
        if not contested or met.unversioned or (met.write.keep < 0 and met.same_version):
            return None
        if met.same_version:
            return DATA
        if self._merges:
            return TIMESTAMP if met.newer and base is not None and met.overlaps else None
        return TIMESTAMP if met.older and base is not None else None

    def _outcome(self, kind: str) -> tuple[bool, str]:
        """Return whether the target's row stays, and the action to record."""
        if kind == TIMESTAMP:
            return (False, SOURCE_WINS) if self._merges else (True, TARGET_WINS)
        match self._rule.tie:
            case Tie.SOURCE:
                return False, SOURCE_WINS
            case Tie.TARGET:
                return True, TARGET_WINS
            case Tie.REVIEW:
                return True, REVIEW

    def _differing(self, met: RowPair) -> list[int]:
        """Return the columns that the row would change, apart from the version."""
        keep = met.write.keep
        return [
            i
            for i in self._compared
            if met.differs[i] and not keep & (1 << i) and not (self._merges and met.is_null[i])
        ]

    # -- declarations --------------------------------------------------------------------------

    @property
    def _rule(self) -> ConflictDetection:
        assert self._mapping.conflict_detection is not None
        return self._mapping.conflict_detection

    @property
    def _names(self) -> list[str]:
        return [column.name for column in self._sql.columns]

    @cached_property
    def _comparison(self) -> str:
        version = self._mapping.conflict.version
        assert version is not None
        owner_time = self._rule.owner_time
        return RowComparison(self._sql).differences(version=version, owner_time=owner_time)

    @property
    def _compared(self) -> list[int]:
        """Return the columns to compare; a lookup column has no comparable before image."""
        left_out = {*self._mapping.key, self._mapping.conflict.version}
        return [
            i
            for i, target in enumerate(self._sql.columns)
            if target.name not in left_out
            and target.column.sources
            and not (target.column.insert_only or target.column.lookups)
        ]
