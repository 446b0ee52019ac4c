"""Store events that cannot be applied in the target database, encrypted.

A dead letter is written in the transaction that skips its event.  It has the original bytes of key
and value, so that it can be replayed, and no unencrypted value of a row.  A deferred event is
PARKED and is retried automatically (`dlq.retry_queue`); a person decides about the others, which
are OPEN.  Both block later events of their key, unless these carry the whole row: then they are
applied, and the older dead letters of the row become SUPERSEDED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import psycopg

from ..error_text import sqlstate_of, text_of, trace
from ..errors import EventError, ExpiredError, WaitingError, WriteError, class_name
from ..loading.hooks import Hooks
from ..model.dead_letter import DeadLetter
from ..model.message import ROWS, Message
from .encryption import Encryptor

_INSERT = """
INSERT INTO sink.dead_letter (flow, topic, partition, "offset", event_key_hash, error_class,
  sqlstate, error_message, stack_trace, source_data, key_id, plugin_version, status)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class DeadLetters:
    """Writes one mapping's dead letters."""

    def __init__(self, mapping: str, plugin_version: str, encryptor: Encryptor) -> None:
        self._mapping = mapping
        self._plugin_version = plugin_version
        self._encryptor = encryptor

    def write(
        self, connection: psycopg.Connection[Any], dead_letters: Iterable[DeadLetter]
    ) -> None:
        """Insert dead letters in the order of their events: a replay goes by their ids."""
        ordered = sorted(dead_letters, key=lambda one: (one.message.partition, one.message.offset))
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [self._row(dead_letter) for dead_letter in ordered])

    def _row(self, dead_letter: DeadLetter) -> tuple[Any, ...]:
        message, error = dead_letter.message, dead_letter.error
        return (
            self._mapping,
            message.topic,
            None if message.partition == ROWS else message.partition,
            message.offset,
            self._encryptor.fingerprint(message.key),
            *described(error),
            self._encryptor.encrypt(message),
            self._encryptor.key_id,
            self._plugin_version,
            dead_letter.status,
        )


def report(
    dead_letters: Iterable[DeadLetter], log: Any, hooks: Hooks, event_of: Callable[[Message], Any]
) -> None:
    """Log each dead letter and call the plugins' hook with the event that `event_of` returns."""
    for dead_letter in dead_letters:
        log.error(
            "dead_letter",
            error=text_of(dead_letter.error),
            kind=class_name(dead_letter.error),
            partition=dead_letter.message.partition,
            offset=dead_letter.message.offset,
        )
        hooks.failed(dead_letter.error, partial(event_of, dead_letter.message))


def described(error: EventError) -> tuple[str, str | None, str, str]:
    """Return the error's class, SQLSTATE, text and trace, without a row's value."""
    state = None
    if isinstance(error, WriteError | WaitingError | ExpiredError):
        state = sqlstate_of(error)
    return class_name(error), state, text_of(error), "\n".join(trace(error))
