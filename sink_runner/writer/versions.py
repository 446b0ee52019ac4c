"""Rows of a target that has no column for a version: their places in the log are kept beside it.

Events come in order and once, but the rows of a batch may race with them, and so may a batch of
an older snapshot.  Only a mapping whose source always wins needs this, and pays for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg

from ..model.changes import Change, Key, Round, ordered
from ..plugin import Delete
from .parameters import key_arrays, position_arrays, run
from .writer import Writer

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class VersionedWriter(Writer):
    """Leaves out what is older than what was last written or marked under its key."""

    @property
    def keeps_positions(self) -> bool:
        return True

    def write_round(self, connection: Connection, part: Round) -> int:
        stale = self._stale(connection, [*ordered(part.leaves.values()), *part.writes.values()])
        self.stale += len(stale)
        fresh = Round(
            writes=without(part.writes, stale),
            leaves=without(part.leaves, stale),
            outdated=part.outdated,
        )
        written = super().write_round(connection, fresh)
        marks = [leave for leave in fresh.leaves.values() if not isinstance(leave.action, Delete)]
        self._remember(connection, [*marks, *fresh.writes.values()])
        return written

    def _stale(self, connection: Connection, changes: Sequence[Change]) -> set[Key]:
        if not changes:
            return set()
        arrays = [*key_arrays(change.key for change in changes), *position_arrays(changes)]
        found = run(connection, self._sql.stale, [*arrays, self._sql.mapping])
        return {changes[at].key for (at,) in found.fetchall()}

    def _remember(self, connection: Connection, changes: Sequence[Change]) -> None:
        if changes:
            by_key = sorted(changes, key=lambda change: str(change.key))
            arrays = [*key_arrays(change.key for change in by_key), *position_arrays(by_key)]
            run(connection, self._sql.remember, [self._sql.mapping, *arrays])


def without(changes: Mapping[Key, T], stale: set[Key]) -> dict[Key, T]:
    return {key: change for key, change in changes.items() if key not in stale}
