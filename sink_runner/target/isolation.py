"""Find the events that a batch fails on, by splitting it until each of them stands alone.

An event is applied as a whole or not at all, and what comes after a failing one of its key is
left out as well: it waits behind it.  One bad event among n costs about 2 log2(n) attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import psycopg

from ..dead_letters.dead_letter import DeadLetter, behind, line_of
from ..dlq.superseding import Superseding
from ..errors import EventError
from ..postgres.refused_column import RefusedColumn
from .changes import Change
from .faults import ROW_FAULTS, Blame, blame_of, judge

Connection = psycopg.Connection[Any]


class Isolation:
    """Writes parts of a batch in one go; if a row is at fault, splits them."""

    def __init__(
        self,
        connection: Connection,
        changes: Sequence[Change],
        write: Callable[[Sequence[Change]], int],
        letters: list[DeadLetter],
        *,
        superseding: Superseding | None = None,
        refused: RefusedColumn | None = None,
    ) -> None:
        """`changes` is the whole batch; `refused` names the column that a row is refused for.

        `letters` gets the events that fail and those that wait behind them; what `superseding`
        finds independent of earlier events of its row does not wait.
        """
        self._connection = connection
        self._changes = changes
        self._superseding = superseding
        self._refused = refused
        self._named = 0
        self._write = write
        self._letters = letters
        self._failed: set[Hashable] = set()
        """The lines that stand still."""
        self._behind: set[int] = set()
        self._succeeded = False
        self._unclear: psycopg.Error | None = None
        """A fault that may be the row's or the configuration's."""

    @cached_property
    def _independent(self) -> Collection[int]:
        """The events that do not wait behind others, by the identity of their messages."""
        return self._superseding.independent(self._changes) if self._superseding else ()

    def apply(self, changes: Sequence[Change]) -> int:
        """Return how many rows changed."""
        changes = self.free(changes)
        if not changes:
            return 0
        try:
            with self._connection.transaction():
                written = self._write(changes)
            self._succeeded = True
            return written  # noqa: TRY300 - an else would come after the handler
        except ROW_FAULTS as fault:
            error = judge(fault, unclear=Blame.ROW)
            if not isinstance(error, EventError):
                raise
            at = _half(changes)
            if not at:
                self._note_unclear(fault)
                self._fail(changes[0].source, _caused(self._name_column(error, changes), fault))
                return 0
        return self.apply(changes[:at]) + self.apply(changes[at:])

    def check_unclear(self) -> None:
        """Raise a fault that may be the configuration's if no other event could be written."""
        if self._unclear is not None and not self._succeeded:
            raise self._unclear

    def _note_unclear(self, fault: BaseException) -> None:
        if isinstance(fault, psycopg.Error) and fault.sqlstate:
            self._unclear = fault if blame_of(fault) is Blame.UNCLEAR else self._unclear

    def fail(self, letters: Iterable[DeadLetter]) -> None:
        """Keep these events apart, and those behind them."""
        for letter in letters:
            self._fail(letter.message, letter.error)

    def free(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return the changes that need not wait; the others come to wait."""
        return self._free(changes) if self._failed else changes

    def _name_column(self, error: EventError, changes: Sequence[Change]) -> EventError:
        if self._refused is None or self._named >= self._refused.most:
            return error
        self._named += 1
        return self._refused.name_in(error, changes, self._connection)

    def _fail(self, message: Any, error: EventError) -> None:
        self._letters.append(DeadLetter(message, error))
        self._failed.add(line_of(message))

    def _free(self, changes: Sequence[Change]) -> list[Change]:
        """Those whose key has not failed; the others come to wait."""
        found: list[Change] = []
        for change in changes:
            message = change.source
            if line_of(message) not in self._failed or id(message) in self._independent:
                found.append(change)
            elif id(message) not in self._behind:
                self._behind.add(id(message))
                self._letters.append(DeadLetter(message, behind()))
        return found


def _half(changes: Sequence[Change]) -> int:
    """Where to split without taking an event apart; 0 if there is but one."""
    middle = len(changes) // 2
    for at in chain(range(middle, 0, -1), range(middle + 1, len(changes))):
        if changes[at].source is not changes[at - 1].source:
            return at
    return 0


def _caused(error: EventError, fault: BaseException) -> EventError:
    if error is not fault:
        error.__cause__ = fault
    return error
