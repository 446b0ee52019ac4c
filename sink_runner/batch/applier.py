"""A batch's session with the target: a chunk of rows, its dead letters and the run's progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from ..model.batch import Batch, Superseding
from ..model.changes import Change
from ..model.dead_letter import DeadLetter
from ..model.partition import Advance, Topic
from ..quality.counts import add_counts
from ..writer.committer import Applier, Connection, Session, Written
from ..writer.offsets import Offsets

T = TypeVar("T")

_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('sink/' || %s, 0))"


class Alone(Offsets):
    """A batch has no offsets.  What it writes, it writes while no event of its mapping is being
    applied: so what it finds in the target still holds when it writes."""

    def __init__(self, mapping: str) -> None:
        super().__init__(mapping, Topic("", "", ""), "batch")
        self._mapping = mapping

    def advance(self, connection: Connection, steps: Iterable[Advance]) -> None:
        """Wait for the events that are being applied; the next ones wait for us."""
        del steps
        connection.execute(_ALONE, (self._mapping,))


class BatchApplier(Applier):
    """Writes chunks of rows."""

    def enter(self, run: int) -> None:
        """What is audited from now on is of this run."""
        if self._trail:
            self._trail = replace(self._trail, run=run)

    def transact(self, work: Callable[[Connection], T], *, dry: bool = False) -> T:
        """Do the work in a transaction of the mapping's own; `dry` rolls it back."""
        with Session(self) as connection, connection.transaction() as transaction:
            self._offsets.advance(connection, ())
            self.check_at_once(connection)
            if self.callbacks:
                self.callbacks.load(connection)
            done = work(connection)
            if dry:
                raise psycopg.Rollback(transaction)
        return done

    def put(
        self,
        connection: Connection,
        changes: Sequence[Change],
        dead_letters: list[DeadLetter],
        superseding: Superseding | None = None,
    ) -> Written:
        """Write the changes; those that are refused become dead letters."""
        self._writer.has_tombstones = True
        return self._write(connection, changes, dead_letters, superseding)

    def derive(self, touch: str, connection: Connection) -> int:
        """Derive the groups of candidates that the statement notes."""
        connection.execute(touch.encode())
        return self._writer.write(connection, (), self._clock())

    def settle(
        self,
        connection: Connection,
        batch: Batch,
        dead_letters: Sequence[DeadLetter],
        changes: Sequence[Change],
        written: int,
        *,
        read: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the dead letters, count what broke a rule or was given a default, and audit it.

        `read` is where the rows were read, if that tells which they are.
        """
        if batch.superseding:
            dead_letters = batch.superseding.settle(
                connection, self._mapping, changes, dead_letters
            )
        if dead_letters:
            self._dead_letters.write(connection, dead_letters)
        if dead_letters or batch.defaults:
            day = self._clock().date()
            add_counts(connection, self._mapping, dead_letters, batch.defaults, day)
        if self._trail:
            self._trail.applied(
                connection, batch, changes, dead_letters, written=written, read=read
            )
