"""An event that could not be applied, and why."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from ..errors import EventError, WaitingError
from .message import ROWS, Message

_BLOCKED = "waits behind an earlier event of its row"


class DeadLetter(NamedTuple):
    """A message and why it can't be applied."""

    message: Message
    error: EventError
    superseded: bool = False
    """A newer whole row of the same source row was applied in the same transaction."""

    @property
    def status(self) -> str:
        """The status that it is stored with."""
        if self.superseded:
            return "SUPERSEDED"
        return "PARKED" if isinstance(self.error, WaitingError) else "OPEN"


def blocked_error() -> WaitingError:
    """Return the error of an event that only waits for an earlier one of its row."""
    return WaitingError(_BLOCKED)


def is_blocked(error: EventError) -> bool:
    """Return whether the event waits only for an earlier one of its row."""
    return error.args == (_BLOCKED,)


def ordering_key(message: Message) -> Hashable:
    """Return a value that is equal for two events that must be applied in their order.

    A row of a batch run is the table's current row, so it need not keep an order.
    """
    if message.partition == ROWS:
        return id(message)
    return message.partition, message.key


def waits(dead_letter: DeadLetter) -> bool:
    """Return whether it is retried automatically: its status is PARKED."""
    return dead_letter.status == "PARKED"


def fails(dead_letter: DeadLetter) -> bool:
    """Return whether a person has to decide about it: its status is OPEN."""
    return dead_letter.status == "OPEN"


def holds(dead_letter: DeadLetter) -> bool:
    """Return whether later events of its key wait behind it; a batch's row blocks no event."""
    if dead_letter.superseded:
        return False
    return waits(dead_letter) or dead_letter.message.partition != ROWS
