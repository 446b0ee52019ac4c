"""Write rows whose target key may pass from one source row to another.

For each key the runner remembers the source row that owns it and the position of its last change,
and for each source row that gave a key up, the position where it did.  So the outcome depends only
on the log, and not on the order in which the partitions are read:

- A row is stale if its source row has given the key up since, or if a later row owns it.
- A key is removed from the target only with the source row that owns it.  Of two rows that swap
  their keys in one transaction, each takes the other's key before the other gives it up.
- Where a unique constraint of the source says that a key belongs to one row at a time, a row that
  takes over a key replaces the whole row there, as if the removal had come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ..model.changes import Change, Position, Removal, Wave, Write
from ..model.outcome import Outcome
from ..plugin import ABSENT, Delete, Ignore, Review, Strategy
from .key_ownership import KeyState, OwnershipStatements
from .parameters import key_arrays, position_arrays, run
from .versions import VersionedWriter
from .writer import Connection, Writer

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sink/keys/' || %s, 0))"
_FIRST: Position = (-1, 0)


class OwnershipWriter(VersionedWriter):
    """Orders the changes of several source rows to one target key."""

    exclusive = True
    """A key belongs to one source row at a time."""

    @cached_property
    def _owners(self) -> OwnershipStatements:
        return OwnershipStatements(self._sql)

    def begin(self, connection: Connection) -> None:
        """Lock the mapping against writes of other processes until the transaction ends.

        Another process may have the partition of the source row that owns a key now.
        """
        super().begin(connection)
        run(connection, _LOCK, [self._sql.mapping])

    def waves(self, connection: Connection, changes: Iterable[Change]) -> list[Wave]:
        """Split the changes in the order of the log; one without a position follows its row."""
        last: dict[str | None, Position] = {}
        positioned = []
        for change in changes:
            position = change.position or last.get(change.owner, _FIRST)
            last[change.owner] = position
            positioned.append((position, change))
        positioned.sort(key=lambda pair: pair[0])
        versioned = self._sql.conflict.version is not None
        return self.split(connection, [change for _, change in positioned], versioned=versioned)

    def write_wave(self, connection: Connection, wave: Wave) -> int:
        removals = self._valid_removals(connection, list(wave.removals.values()))
        writes = self._fresh_writes(connection, list(wave.writes.values()))
        replaced = [write.key for write, state in writes if self._replaces(write, state)]
        if replaced:
            run(connection, self._sql.delete, key_arrays(replaced))
        kept = replace(
            wave,
            writes={write.key: write for write, _ in writes},
            removals={removal.key: removal for removal in removals},
        )
        written = Writer.write_wave(self, connection, kept)
        updates = [one for one in removals if not isinstance(one.action, Delete | Ignore | Review)]
        self._own(connection, [*updates, *self._new_owners(connection, writes)])
        return written

    def delete(self, connection: Connection, removals: Sequence[Removal]) -> int:
        """Delete the rows, and remember which source rows have given their keys up."""
        ordered = sorted(removals, key=lambda removal: str(removal.key))
        keys = key_arrays(removal.key for removal in ordered)
        deleted = dict(run(connection, self._sql.delete, keys).fetchall())
        run(connection, self._owners.release, self._parameters(ordered))
        self._give_up(connection, ordered, [deleted.get(at) for at in range(len(ordered))])
        self.count_removed(ordered[at] for at in deleted)
        return len(deleted)

    def _discard_deleted(self, connection: Connection) -> None:
        """Do nothing: the writes that are older than a deletion are left out already."""

    # -- which changes are stale -----------------------------------------------------------------

    def _valid_removals(self, connection: Connection, removals: Sequence[Removal]) -> list[Removal]:
        """Return the removals by the source row that owns the key; the others only give it up."""
        valid, given_up = list[Removal](), list[Removal]()
        for removal, state in self._states(connection, removals):
            if isinstance(removal.action, Review):
                valid.append(removal)
                continue
            self.state.outcomes[Outcome.STALE] += state.later and not removal.moved
            (given_up if state.foreign or state.later else valid).append(removal)
        deletions = [removal for removal in given_up if isinstance(removal.action, Delete)]
        self._give_up(connection, deletions, [None] * len(deletions))
        return valid

    def _fresh_writes(
        self, connection: Connection, writes: Sequence[Write]
    ) -> list[tuple[Write, KeyState]]:
        fresh = [
            (write, state)
            for write, state in self._states(connection, writes)
            if not self._is_stale(write, state)
        ]
        fresh = self._without_ties(connection, fresh)
        self.state.outcomes[Outcome.STALE] += len(writes) - len(fresh)
        return fresh

    def _states(
        self, connection: Connection, changes: Sequence[Change]
    ) -> Iterable[tuple[Any, KeyState]]:
        if not changes:
            return ()
        versions = [self._version_of(change) for change in changes]
        mapping, *arrays = self._parameters(changes)
        found = run(connection, self._owners.states, [*arrays, versions, mapping, mapping])
        return [(changes[number], KeyState(*state)) for number, *state in sorted(found.fetchall())]

    def _is_stale(self, write: Write, state: KeyState) -> bool:
        if state.given_up:
            return True
        if not state.owned:
            return False
        if write.position is None:  # of an incremental snapshot, before the key was taken over
            return self.exclusive and state.foreign and self._sql.conflict.version is None
        if not state.later:
            return False
        newest = self._sql.conflict.strategy in (Strategy.NEWEST_WINS, Strategy.MERGE_CHANGED)
        return (self.exclusive and state.foreign) or not newest

    def _without_ties(
        self, connection: Connection, fresh: list[tuple[Write, KeyState]]
    ) -> list[tuple[Write, KeyState]]:
        """Of two rows of the same version, keep the one that is later in the log."""
        older = [write for write, state in fresh if state.owned and state.later]
        if not older or self._sql.conflict.version is None:
            return fresh
        tied = {write.key for write in self._at_target_version(connection, older)}
        return [(write, state) for write, state in fresh if write.key not in tied]

    def _at_target_version(self, connection: Connection, writes: Sequence[Write]) -> list[Write]:
        """Return the writes with the version that the target's row of their key has."""
        versions = [self._version_of(write) for write in writes]
        arrays = [*key_arrays(write.key for write in writes), versions]
        found = {at for (at,) in run(connection, self._owners.same_version, arrays).fetchall()}
        return [write for at, write in enumerate(writes) if at in found]

    def _replaces(self, write: Write, state: KeyState) -> bool:
        taken_over = state.owned and state.foreign
        return self.exclusive and taken_over and write.position is not None

    # -- remembered positions --------------------------------------------------------------------

    def _new_owners(
        self, connection: Connection, written: Sequence[tuple[Write, KeyState]]
    ) -> list[Write]:
        """Return the rows just written that own their keys from now on."""
        strategy = self._sql.conflict.strategy
        if strategy is Strategy.SOURCE_WINS:
            return [write for write, _ in written]
        sure = [
            write for write, state in written if not state.owned or self._replaces(write, state)
        ]
        if strategy is Strategy.INSERT_ONCE:
            return sure
        known = {write.key for write in sure}
        others = [write for write, _ in written if write.key not in known]
        return sure + (self._at_target_version(connection, others) if others else [])

    def _own(self, connection: Connection, changes: Sequence[Change]) -> None:
        if changes:
            ordered = sorted(changes, key=lambda change: str(change.key))
            run(connection, self._owners.own, self._parameters(ordered))

    def _give_up(
        self, connection: Connection, removals: Sequence[Removal], versions: Sequence[str | None]
    ) -> None:
        pairs = [(r, v) for r, v in zip(removals, versions, strict=True) if r.owner is not None]
        if pairs:
            parameters = self._parameters([removal for removal, _ in pairs])
            run(connection, self._owners.give_up, [*parameters, [version for _, version in pairs]])

    def _parameters(self, changes: Sequence[Change]) -> list[Any]:
        keys = key_arrays(change.key for change in changes)
        owners = [change.owner for change in changes]
        return [self._sql.mapping, *keys, *position_arrays(changes), owners]

    def _version_of(self, change: Change) -> str | None:
        if self._sql.conflict.version is None or isinstance(change, Removal):
            return None
        value = change.values[self._version_at]
        return None if value is None or value is ABSENT else str(value)

    @cached_property
    def _version_at(self) -> int:
        names = [column.name for column in self._sql.columns]
        return names.index(str(self._sql.conflict.version))


class SharedKeyWriter(OwnershipWriter):
    """As its base class, where several source rows may have a key at the same time.

    The mapping's strategy decides which of them is in the target.
    """

    exclusive = False
