"""A batch's session with the target: a chunk of rows, its dead letters and the run's progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from ..applier import Applier, Connection
from ..changes import Change
from ..dead_letter import DeadLetter
from ..quality import add_counts
from ..route import Batch

T = TypeVar("T")

# The events of the mapping are applied before a chunk or after it, never at the same time: so
# what a chunk finds in the target still holds when it is written.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('sink/' || %s, 0))"


class BatchApplier(Applier):
    """Writes chunks; has no offsets to keep."""

    def transact(self, work: Callable[[Connection], T], *, dry: bool = False) -> T:
        """Do the work in a transaction of the mapping's own; `dry` rolls it back."""
        with self._session() as connection, connection.transaction() as transaction:
            connection.execute(_ALONE, (self._mapping,))
            done = work(connection)
            if dry:
                raise psycopg.Rollback(transaction)
        return done

    def put(
        self, connection: Connection, changes: Sequence[Change], letters: list[DeadLetter]
    ) -> int:
        """Write the changes; those that are refused become letters.  Return the rows changed."""
        self._writer.remembers = True
        return self._write(connection, changes, letters)

    def derive_orphans(self, connection: Connection) -> int:
        """Derive the groups of the target that no row of the source is in."""
        return self._writer.derive_orphans(connection, self._clock())

    def settle(self, connection: Connection, batch: Batch, letters: Sequence[DeadLetter]) -> None:
        """Keep the dead letters, and count what broke a rule or was given a default."""
        if letters:
            self._dead_letters.write(connection, letters)
        if letters or batch.defaults:
            day = self._clock().date()
            add_counts(connection, self._mapping, letters, batch.defaults, day)
