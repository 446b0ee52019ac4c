"""Events that can't be applied, kept in the target database, encrypted.

A dead letter is written in the very transaction that skips its event.  It holds the original
bytes of key and value, so that it can be replayed, and nothing in clear that came from a row.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ConfigError, EventError, WriteError

_NONCE = 12  # bytes, as AES-GCM wants it
_INSERT = """
INSERT INTO sync_dlq (flow, topic, partition, "offset", event_key_hash, error_class, sqlstate,
                      error_message, stack_trace, source_data, key_id, plugin_version)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Message(NamedTuple):
    """A Kafka record: where it stands and its bytes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class DeadLetter(NamedTuple):
    """A message and why it can't be applied."""

    message: Message
    error: EventError


@dataclass(frozen=True)
class Sealer:
    """Encrypts payloads with AES-256-GCM; `key_id` tells which key opens them."""

    key: bytes
    key_id: str

    def __post_init__(self) -> None:
        if len(self.key) != 32:  # noqa: PLR2004 - AES-256
            raise ConfigError("the dead letter key must be 32 bytes, base64 encoded")

    def seal(self, message: Message) -> bytes:
        nonce = os.urandom(_NONCE)
        body = struct.pack(">i", -1 if message.key is None else len(message.key))
        body += (message.key or b"") + (message.value or b"")
        return nonce + AESGCM(self.key).encrypt(nonce, body, _place(message))

    def open(self, sealed: bytes, topic: str, partition: int, offset: int) -> Message:
        place = Message(topic, partition, offset, None, None)
        body = AESGCM(self.key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _place(place))
        (length,) = struct.unpack_from(">i", body)
        end = 4 + max(length, 0)
        return place._replace(key=None if length < 0 else body[4:end], value=body[end:])

    def fingerprint(self, key: bytes | None) -> bytes | None:
        """Finds the letters of one row without telling which row it is."""
        return None if key is None else hmac.digest(self.key, key, hashlib.sha256)


def _place(message: Message) -> bytes:
    return f"{message.topic}/{message.partition}/{message.offset}".encode()


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
            message.partition,
            message.offset,
            self._sealer.fingerprint(message.key),
            type(error).__name__,
            error.sqlstate if isinstance(error, WriteError) else None,
            str(error),
            frames(error),
            self._sealer.seal(message),
            self._sealer.key_id,
            self._plugin_version,
        )


def frames(error: BaseException) -> str:
    """Where an exception came from, cause first: files, lines and functions, never a value."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__
    return "\n".join(_frames(each) for each in reversed(chain))


def _frames(error: BaseException) -> str:
    places = [
        f"  {frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return "\n".join([type(error).__name__, *places])
