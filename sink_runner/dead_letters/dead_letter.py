"""Events that can't be applied, kept in the target database, encrypted.

A dead letter is written in the very transaction that skips its event.  It holds the original
bytes of key and value, so that it can be replayed, and nothing in clear that came from a row.
One that only waits is PARKED and will be tried again by itself (`waiting`); the others are OPEN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg

from ..errors import EventError, WaitingError, WriteError
from ..kafka.message import ROWS, Message
from ..log import text_of, trace
from .sealing import Sealer

_INSERT = """
INSERT INTO sync_dlq (flow, topic, partition, "offset", event_key_hash, error_class, sqlstate,
                      error_message, stack_trace, source_data, key_id, plugin_version, status)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class DeadLetter(NamedTuple):
    """A message and why it can't be applied."""

    message: Message
    error: EventError


class DeadLetters:
    """Writes one mapping's dead letters."""

    def __init__(self, mapping: str, plugin_version: str, sealer: Sealer) -> None:
        self._mapping = mapping
        self._plugin_version = plugin_version
        self._sealer = sealer

    def write(self, connection: psycopg.Connection[Any], letters: Iterable[DeadLetter]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [self._row(letter) for letter in letters])

    def _row(self, letter: DeadLetter) -> tuple[Any, ...]:
        message, error = letter
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
            "PARKED" if isinstance(error, WaitingError) else "OPEN",
        )


def described(error: EventError) -> tuple[str, str | None, str, str]:
    """The error's class, SQLSTATE, text and trace, none of which holds a row's value."""
    state = error.sqlstate if isinstance(error, WriteError) else None
    return type(error).__name__, state, text_of(error), "\n".join(trace(error))
