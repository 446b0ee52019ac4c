"""Events that can't be applied, kept in the target database, encrypted.

A dead letter is written in the very transaction that skips its event.  It holds the original
bytes of key and value, so that it can be replayed, and nothing in clear that came from a row.
One that only waits is PARKED and will be tried again by itself (`waiting`); the others are OPEN:
a person decides.  Later events of an event's key wait behind either, unless they carry the whole
row: those are applied, and the older dead letters of the row become SUPERSEDED.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any, NamedTuple

import psycopg

from ..errors import EventError, ExpiredError, WaitingError, WriteError, class_name
from ..loading.hooks import Hooks
from ..log import sqlstate_of, text_of, trace
from ..model.message import ROWS, Message
from .sealing import Sealer

_INSERT = """
INSERT INTO sink.dead_letter (flow, topic, partition, "offset", event_key_hash, error_class,
  sqlstate, error_message, stack_trace, source_data, key_id, plugin_version, status)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


_BEHIND = "waits behind an earlier event of its row"


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


def behind() -> WaitingError:
    """Why an event waits that nothing is wrong with."""
    return WaitingError(_BEHIND)


def is_behind(error: EventError) -> bool:
    """Return whether the event waits for nothing but an earlier one of its row."""
    return error.args == (_BEHIND,)


def line_of(message: Message) -> Hashable:
    """What is equal for two events of which the later must not overtake the earlier.

    What a batch read from the table is the row as it is now, and overtakes nobody.
    """
    if message.partition == ROWS:
        return id(message)
    return message.partition, message.key


def waits(letter: DeadLetter) -> bool:
    """Is it PARKED, and not OPEN?"""
    return letter.status == "PARKED"


def fails(letter: DeadLetter) -> bool:
    """Return whether a person has to decide about it: it is OPEN."""
    return letter.status == "OPEN"


def holds(letter: DeadLetter) -> bool:
    """Do later events of its key wait behind it?  A batch's row that failed holds up nobody."""
    if letter.superseded:
        return False
    return waits(letter) or letter.message.partition != ROWS


class DeadLetters:
    """Writes one mapping's dead letters."""

    def __init__(self, mapping: str, plugin_version: str, sealer: Sealer) -> None:
        self._mapping = mapping
        self._plugin_version = plugin_version
        self._sealer = sealer

    def write(self, connection: psycopg.Connection[Any], letters: Iterable[DeadLetter]) -> None:
        """Add them in the order of their events: their numbers tell it to whoever replays them."""
        ordered = sorted(letters, key=lambda one: (one.message.partition, one.message.offset))
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [self._row(letter) for letter in ordered])

    def _row(self, letter: DeadLetter) -> tuple[Any, ...]:
        message, error = letter.message, letter.error
        return (
            self._mapping,
            message.topic,
            None if message.partition == ROWS else message.partition,
            message.offset,
            self._sealer.fingerprint(message.key),
            *described(error),
            self._sealer.seal(message),
            self._sealer.key_id,
            self._plugin_version,
            letter.status,
        )


def tell(
    letters: Iterable[DeadLetter], log: Any, hooks: Hooks, event_of: Callable[[Message], Any]
) -> None:
    """Log each that failed, and tell the plugins, with the event that `event_of` makes of it."""
    for letter in letters:
        log.error(
            "dead_letter",
            error=text_of(letter.error),
            kind=class_name(letter.error),
            partition=letter.message.partition,
            offset=letter.message.offset,
        )
        hooks.failed(letter.error, partial(event_of, letter.message))


def described(error: EventError) -> tuple[str, str | None, str, str]:
    """The error's class, SQLSTATE, text and trace, none of which holds a row's value."""
    state = None
    if isinstance(error, WriteError | WaitingError | ExpiredError):
        state = sqlstate_of(error)
    return class_name(error), state, text_of(error), "\n".join(trace(error))
