"""Write to a target without a version column; a table beside it has the rows' log positions.

Events arrive in order and once, but rows of a batch run may overtake them, and so may the rows of
an older snapshot.  Only a mapping with the strategy `source_wins` needs these positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..model.changes import Change, Key, Wave, count_events, without_reviews
from ..model.outcome import Outcome
from ..plugin import Delete
from .parameters import key_arrays, position_arrays, run
from .writer import Connection, Writer

T = TypeVar("T")


class VersionedWriter(Writer):
    """Leaves out the changes that are older than the last one of their key."""

    keeps_positions = True

    def write_wave(self, connection: Connection, wave: Wave) -> int:
        removals = without_reviews(wave.removals.values())
        changes: list[Change] = [*removals, *wave.writes.values()]
        stale = self._leave_stale(connection, changes)
        fresh = replace(
            wave, writes=without(wave.writes, stale), removals=without(wave.removals, stale)
        )
        written = super().write_wave(connection, fresh)
        kept = [one for one in fresh.removals.values() if not isinstance(one.action, Delete)]
        self._remember(connection, [*kept, *fresh.writes.values()])
        return written

    def _leave_stale(self, connection: Connection, changes: Sequence[Change]) -> set[Key]:
        """Count the changes that are older than the last one of their key; return the keys."""
        stale = self._compare(connection, self._versions.stale, changes)
        self.state.outcomes[Outcome.STALE] += count_events(
            one for one in changes if one.key in stale
        )
        return stale

    def _compare(self, connection: Connection, query: str, changes: Sequence[Change]) -> set[Key]:
        """Return the keys of the changes whose numbers the query returns."""
        if not changes:
            return set()
        arrays = [*key_arrays(change.key for change in changes), *position_arrays(changes)]
        found = run(connection, query, [*arrays, self._sql.mapping])
        return {changes[at].key for (at,) in found.fetchall()}

    def _remember(self, connection: Connection, changes: Sequence[Change]) -> None:
        if changes:
            by_key = sorted(changes, key=lambda change: str(change.key))
            arrays = [*key_arrays(change.key for change in by_key), *position_arrays(by_key)]
            run(connection, self._versions.remember, [self._sql.mapping, *arrays])


def without(changes: Mapping[Key, T], keys: set[Key]) -> dict[Key, T]:
    return {key: change for key, change in changes.items() if key not in keys}
