"""Write a batch, its dead letters and its offsets in one transaction of the target."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg

from ..errors import FatalError, PoliciesChangedError, WaitingError
from ..model.batch import Batch, Superseding
from ..model.changes import Change, Key, count_events
from ..model.dead_letter import DeadLetter
from ..model.outcome import Outcome
from ..model.partition import Advance, Claim
from ..quality.counts import add_counts
from ..transform.target_lookups import TargetLookups
from .audit import Trail
from .budget import Budget
from .callback_rows import CallbackRows
from .dead_letters import DeadLetters
from .isolation import Isolation, Written
from .offsets import OffsetStore
from .refused_column import RefusedColumn
from .row_version import forget_tombstones, has_tombstones
from .target_session import TargetSession
from .truncation import Truncation

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Committer:
    """Applies batches exactly once.

    It is used by one thread at a time.  Every call may raise RetriableError; the next call then
    opens a new session.
    """

    def __init__(
        self,
        mapping: str,
        *,
        session: TargetSession,
        offsets: OffsetStore,
        dead_letters: DeadLetters,
        clock: Callable[[], datetime],
        trail: Trail | None = None,
        budget: Budget | None = None,
        policies: Callable[[], str] | None = None,
        lookups: TargetLookups | None = None,
        callbacks: CallbackRows | None = None,
        refused: RefusedColumn | None = None,
        truncation: Truncation | None = None,
    ) -> None:
        """`policies` returns the digest of the policies in force; `lookups` completes changes in
        the write transaction."""
        self.session = session
        self._lookups = lookups
        self._refused = refused
        self._truncation = truncation
        self.callbacks = callbacks
        """The rows of callbacks; None if batch runs of the mapping do not need them."""
        self._mapping = mapping
        self._trail = trail
        self._writer = session.writer
        self._offsets = offsets
        self._dead_letters = dead_letters
        self._clock = clock
        self._budget = budget
        self._policies = policies
        self._last_dead_letters: list[DeadLetter] = []
        """The dead letters of the last attempt that reached its commit, until the next batch."""
        self.outcomes: Counter[str] = Counter()
        """How many events the last write gave which outcome."""

    def claim(self, partitions: Iterable[int]) -> Mapping[int, Claim]:
        """Claim the partitions, so that no other process can write their events."""
        with self.session as connection, connection.transaction():
            claims = self._offsets.claim(connection, partitions)
            self._find_tombstones(connection)
            if self.callbacks:
                self.callbacks.load(connection)
            return claims

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in a transaction of the session."""
        with self.session as connection, connection.transaction():
            return work(connection)

    def transact(self, work: Callable[[Connection], T], *, dry: bool = False) -> T:
        """Call the work of a batch run in one transaction, which `dry` rolls back."""
        with self.session as connection, connection.transaction() as transaction:
            self._begin(connection, ())
            if self.callbacks:
                self.callbacks.load(connection)
            done = work(connection)
            if dry:
                raise psycopg.Rollback(transaction)
        return done

    def audit_run(self, run: int) -> None:
        """Audit what follows as part of this batch run."""
        if self._trail:
            self._trail = replace(self._trail, run=run)

    def apply(
        self,
        batch: Batch,
        steps: Sequence[Advance],
        *,
        again: bool = False,
        record: Callable[[Connection, list[DeadLetter]], None] | None = None,
    ) -> int:
        """Write the batch and return how many rows changed.

        `again` says that an earlier attempt failed, perhaps after its commit.  `record` is called
        in place of the insertion of dead letters, even if there are none, and may change them.
        """
        dead_letters = list(batch.dead_letters)
        if not again:
            self._last_dead_letters = []
        with self.session as connection, connection.transaction():
            if again and self._offsets.applied(connection, steps):
                batch.dead_letters, batch.applied = self._last_dead_letters, self.outcomes
                return 0
            if self._policies and batch.masking and batch.masking.digest != self._policies():
                raise PoliciesChangedError("the masking policies have changed since it was masked")
            self._begin(connection, steps)
            emptied = self._empty(connection, batch)
            rows, changes = self.write(connection, batch.changes, dead_letters, batch.superseding)
            dead_letters = self._settle(connection, batch, changes, dead_letters)
            if dead_letters or record:
                (record or self._dead_letters.write)(connection, dead_letters)
            written = emptied + rows
            self._account_for(
                connection, batch, changes, dead_letters, written=written, steps=steps
            )
            self._last_dead_letters, written_at = dead_letters, time.monotonic()
        batch.seconds["commit"] = time.monotonic() - written_at
        # Only after the commit: another attempt finds them again.
        batch.dead_letters, batch.applied = dead_letters, self.outcomes
        return written

    def _settle(
        self,
        connection: Connection,
        batch: Batch,
        changes: Sequence[Change],
        dead_letters: list[DeadLetter],
    ) -> list[DeadLetter]:
        """Return the dead letters that newer rows do not supersede; check the failure budget."""
        if batch.superseding:
            dead_letters = batch.superseding.settle(
                connection, self._mapping, batch.changes, dead_letters
            )
        if self.callbacks:
            self.callbacks.note(connection, batch.callbacks, changes, dead_letters)
        if dead_letters and self._budget:
            events = len(batch.changes) + len(batch.dead_letters)
            self._budget.check(connection, dead_letters, events)
        return dead_letters

    def store(
        self,
        connection: Connection,
        batch: Batch,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
        *,
        written: int,
        read: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a chunk's dead letters, count and audit it, in the caller's transaction.

        `read` is the place where the rows were read.
        """
        if batch.superseding:
            dead_letters = batch.superseding.settle(
                connection, self._mapping, changes, dead_letters
            )
        if dead_letters:
            self._dead_letters.write(connection, dead_letters)
        self._account_for(connection, batch, changes, dead_letters, written=written, read=read)

    def _account_for(
        self,
        connection: Connection,
        batch: Batch,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
        **where: Any,
    ) -> None:
        """Count broken rules and defaults, and audit what was written."""
        add_counts(connection, self._mapping, dead_letters, batch.defaults, self._clock().date())
        if self._trail:
            self._trail.applied(connection, batch, changes, dead_letters, **where)

    def _begin(self, connection: Connection, steps: Sequence[Advance]) -> None:
        self._offsets.advance(connection, steps)
        self._find_tombstones(connection)
        if self.session.immediate:
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def _empty(self, connection: Connection, batch: Batch) -> int:
        """Follow a TRUNCATE of the source table, if the batch has one."""
        if batch.truncated is None:
            return 0
        if self._truncation is None:
            raise FatalError("the batch has a TRUNCATE, and nothing follows it here")
        return self._truncation.empty(connection, batch.truncated, self._clock())

    def _leave_truncated(
        self, connection: Connection, changes: Sequence[Change], truncation: Truncation
    ) -> Sequence[Change]:
        """Return the changes that are newer than the last TRUNCATE; count the others as stale."""
        truncation.load(connection)
        newer = truncation.newer(changes)
        self.outcomes[Outcome.STALE] = count_events(changes) - count_events(newer)
        return newer

    def maintain(self, remember: timedelta) -> int:
        """Delete expired candidates, and tombstones older than `remember`."""
        now = self._clock()
        with self.session as connection, connection.transaction():
            forget_tombstones(connection, self._mapping, older_than=remember)
            return self._writer.expire(connection, now)

    def _find_tombstones(self, connection: Connection) -> None:
        """Set `has_tombstones`; another process may have deleted a row."""
        state = self._writer.state
        state.has_tombstones = state.has_tombstones or has_tombstones(connection, self._mapping)

    def write(
        self,
        connection: Connection,
        changes: Sequence[Change],
        dead_letters: list[DeadLetter],
        superseding: Superseding | None = None,
    ) -> Written:
        """Write the changes; add events that fail, and those they block, to `dead_letters`."""
        now, self.outcomes = self._clock(), Counter()
        if self._truncation:
            changes = self._leave_truncated(connection, changes, self._truncation)
        unique = self._writer.unique

        def write(part: Sequence[Change]) -> int:
            unique.defer(connection)
            written = self._writer.write(connection, part, now)
            unique.check(connection)
            self.outcomes.update(self._writer.state.outcomes)  # a part that failed has none
            return written

        def violating(part: Sequence[Change], error: WaitingError) -> Collection[Key]:
            again = partial(self._writer.write, connection, part, now)
            return unique.colliding(connection, part, error, again)

        isolation = Isolation(
            connection,
            changes,
            write,
            dead_letters,
            violating=violating,
            superseding=superseding,
            refused=self._refused,
        )
        if self._lookups is None:
            done = Written(isolation.apply(changes), changes)
        else:
            done = isolation.look_up_and_apply(changes, self._lookups)
        isolation.check_unclear()
        return done
