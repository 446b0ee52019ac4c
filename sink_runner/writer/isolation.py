"""Find the events on which a batch fails, by splitting it until each of them is alone.

An event is applied as a whole or not at all, and a failed event blocks later events of its key.
One bad event among n costs about 2 log2(n) attempts.

An event whose unique value another row still has is retried after the rest of the batch, together
with others of its kind: each may give up the value that another one needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import psycopg

from ..errors import EventError, WaitingError
from ..model.batch import Superseding
from ..model.changes import Change, Key
from ..model.dead_letter import DeadLetter, blocked_error, ordering_key
from ..postgres.error_classes import ROW_FAULTS, classify_error, error_kind, is_taken
from ..postgres.sqlstates import ErrorKind
from ..transform.target_lookups import TargetLookups
from .refused_column import RefusedColumn

Connection = psycopg.Connection[Any]


class Written(NamedTuple):
    """The result of a write."""

    rows: int
    """How many rows of the target changed."""
    changes: Sequence[Change]
    """The changes, with the values that were looked up."""


class Isolation:
    """Writes a batch in one piece; after a data error, in ever smaller pieces."""

    def __init__(
        self,
        connection: Connection,
        changes: Sequence[Change],
        write: Callable[[Sequence[Change]], int],
        dead_letters: list[DeadLetter],
        *,
        violating: Callable[[Sequence[Change], WaitingError], Collection[Key]],
        superseding: Superseding | None = None,
        refused: RefusedColumn | None = None,
    ) -> None:
        """`changes` is the whole batch; `refused` finds the column whose value was refused.

        `dead_letters` gets the events that fail and those that they block; events that
        `superseding` finds independent are not blocked.  `violating` returns the keys whose rows
        violate a unique constraint, if they can be found.
        """
        self._connection = connection
        self._changes = changes
        self._superseding = superseding
        self._refused = refused
        self._named = 0
        self._write = write
        self._violating = violating
        self._dead_letters = dead_letters
        self._failed: set[Hashable] = set()
        """The ordering keys of failed events."""
        self._blocked: set[int] = set()
        self._taken: dict[int, EventError] = {}
        """Events whose unique value another row has, by the identity of their messages."""
        self._later: list[Change] = []
        """The changes of these events, and of the events that they block."""
        self._ordering_keys: set[Hashable] = set()
        """The ordering keys of these events."""
        self._newest: dict[Hashable, int] = {}
        """The offset of the last event that was not postponed, by ordering key."""
        self._succeeded = False
        self._unclear: psycopg.Error | None = None
        """An error that may be a data error or a configuration error."""

    @cached_property
    def _independent(self) -> Collection[int]:
        """The events that no other event blocks, by the identity of their messages."""
        return self._superseding.independent(self._changes) if self._superseding else ()

    def apply(self, changes: Sequence[Change]) -> int:
        """Return how many rows changed."""
        written, before = self._apply(changes), len(changes)
        while self._later and len(self._later) < before:
            later, taken, before = self._later, self._taken, len(self._later)
            self._forget_later()
            overtaken = [change for change in later if self._is_overtaken(change)]
            self._give_up(overtaken, taken)
            written += self._apply(_in_order([c for c in later if not self._is_overtaken(c)]))
        self._give_up(self._later, self._taken)
        self._forget_later()
        return written

    def look_up_and_apply(self, changes: Sequence[Change], lookups: TargetLookups) -> Written:
        """Look the changes up in the target, wave by wave, and apply each wave."""
        rows, written = 0, list[Change]()
        for wave in lookups.target_waves(changes):
            found = lookups.look_up_in_target(self.free(wave), self._connection)
            self.fail(found.dead_letters)
            rows += self.apply(found.changes)
            written += found.changes
        return Written(rows, written)

    def _apply(self, changes: Sequence[Change]) -> int:
        """As `apply`, but leave events to retry in `_later`."""
        while changes := self.free(changes):
            try:
                with self._connection.transaction():
                    written = self._write(changes)
                self._succeeded = True
                return written  # noqa: TRY300 - an else would come after the handler
            except ROW_FAULTS as fault:
                error = classify_error(fault, unclear=ErrorKind.ROW)
                if not isinstance(error, EventError):
                    raise
                at = _half(changes)
                if is_taken(error):
                    error.__cause__ = fault
                    if self._postpone(changes, error, single=not at):
                        continue
                if not at:
                    self._note_unclear(fault)
                    self._fail(changes[0].source, _caused(self._name_column(error, changes), fault))
                    return 0
            return self._apply(changes[:at]) + self._apply(changes[at:])
        return 0

    # -- values that other rows have -----------------------------------------------------------

    def _postpone(self, changes: Sequence[Change], error: WaitingError, *, single: bool) -> bool:
        """Postpone the events that violate a constraint; return False if they are not known."""
        keys = () if single else self._violating(changes, error)
        for change in changes:
            if single or change.key in keys:
                self._taken[id(change.source)] = error
                self._ordering_keys.add(ordering_key(change.source))
        return single or bool(keys)

    def _is_overtaken(self, change: Change) -> bool:
        """Return whether a later event of its row may have been written."""
        message = change.source
        return bool(message.offset < self._newest.get(ordering_key(message), -1))

    def _give_up(self, changes: Sequence[Change], errors: Mapping[int, EventError]) -> None:
        for message in {id(change.source): change.source for change in changes}.values():
            self._fail(message, errors.get(id(message)) or blocked_error())

    def _forget_later(self) -> None:
        self._later, self._taken, self._ordering_keys = [], {}, set()

    # -- failed events -------------------------------------------------------------------------

    def check_unclear(self) -> None:
        """Raise an error that may be of the configuration if no event could be written."""
        if self._unclear is not None and not self._succeeded:
            raise self._unclear

    def _note_unclear(self, fault: BaseException) -> None:
        if isinstance(fault, psycopg.Error) and fault.sqlstate:
            self._unclear = fault if error_kind(fault) is ErrorKind.UNCLEAR else self._unclear

    def fail(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Record failed events; later events of their keys are blocked."""
        for dead_letter in dead_letters:
            self._fail(dead_letter.message, dead_letter.error)

    def free(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return the changes that no failed event blocks; record the others as blocked."""
        return self._free(changes) if self._failed or self._ordering_keys else changes

    def _name_column(self, error: EventError, changes: Sequence[Change]) -> EventError:
        if self._refused is None or self._named >= self._refused.most:
            return error
        self._named += 1
        return self._refused.name_in(error, changes, self._connection)

    def _fail(self, message: Any, error: EventError) -> None:
        self._dead_letters.append(DeadLetter(message, error))
        self._failed.add(ordering_key(message))

    def _free(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes whose ordering key has not failed; record the others as blocked."""
        found: list[Change] = []
        for change in changes:
            message, line = change.source, ordering_key(change.source)
            waits = id(message) not in self._independent
            if id(message) in self._taken or (waits and line in self._ordering_keys):
                self._later.append(change)
            elif not (waits and line in self._failed):
                found.append(change)
                if line in self._ordering_keys:
                    self._newest[line] = message.offset
            elif id(message) not in self._blocked:
                self._blocked.add(id(message))
                self._dead_letters.append(DeadLetter(message, blocked_error()))
        return found


def _in_order(changes: list[Change]) -> list[Change]:
    """Sort changes by log position, if known: a value is given up before another row takes it."""
    places = {id(change): change.position for change in changes if change.position is not None}
    if len(places) < len(changes):
        return changes
    return sorted(changes, key=lambda change: places[id(change)])


def _half(changes: Sequence[Change]) -> int:
    """Return the index at which to split without dividing an event; 0 for a single event."""
    middle = len(changes) // 2
    for at in chain(range(middle, 0, -1), range(middle + 1, len(changes))):
        if changes[at].source is not changes[at - 1].source:
            return at
    return 0


def _caused(error: EventError, fault: BaseException) -> EventError:
    if error is not fault:
        error.__cause__ = fault
    return error
