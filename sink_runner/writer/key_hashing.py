"""The text of a target's keys in the runner's tables, which remains after the rows are deleted.

People see the key itself, or a fingerprint if it may be personal.  The runner's own tables have a
hash of every key, which does not depend on the policies.  The hash is made with a secret, because
there are so few Aadhaar numbers that an attacker could try them all; the secret is created once for
a database, and is stored there encrypted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag

from ..errors import ConfigError
from ..model.changes import Key
from ..model.message import Message
from ..postgres.session import creating
from .encryption import Encryptor

Connection = psycopg.Connection[Any]

_BYTES = 32
_SETTING = "sink.key_secret"
_PLACE = Message(_SETTING, 0, 0, None, None)
_READ = "SELECT sealed, key_id FROM sink.key_secret"
_ADD = "INSERT INTO sink.key_secret (sealed, key_id) VALUES (%s, %s)"
_REPLACE = "UPDATE sink.key_secret SET sealed = %s, key_id = %s"
_USE = f"SELECT set_config('{_SETTING}', %s, false)"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """The text of one mapping's keys."""

    unmasked: bool
    """Whether people may see the key."""
    encryptor: Encryptor
    source_unmasked: bool = False
    """Whether people may see the source's key."""

    def __call__(self, key: Key) -> str:
        """Return the text by which people find all that happened to a row."""
        text = ",".join(map(str, key))
        return text if self.unmasked else self._hashed(text)

    def of_source(self, text: str) -> str:
        """Return the same for the source's key, as text."""
        return text if self.source_unmasked else self._hashed(text)

    def _hashed(self, text: str) -> str:
        return (self.encryptor.fingerprint(text.encode()) or b"").hex()

    @staticmethod
    def sql(array: str) -> str:
        """Return SQL of the hash of a JSON array; the session has to be prepared."""
        salted = f"convert_to(current_setting('{_SETTING}') || {array}::text, 'UTF8')"
        return f"encode(sha256({salted}), 'hex')"

    def prepare(self, connection: Connection) -> None:
        """Set the secret in a session; it is created if there is none."""
        connection.execute(_USE, (_secret(connection, self.encryptor).hex(),))


def rotate_key(connection: Connection, encryptor: Encryptor) -> bool:
    """Encrypt the secret, if there is one, with the present key; False if its own key is gone."""
    with creating(connection), suppress(ConfigError):
        row = connection.execute(_READ).fetchone()
        if row is not None:
            secret = _decrypt(encryptor, *row)
            connection.execute(_REPLACE, (_encrypt(encryptor, secret), encryptor.key_id))
        return True
    return False


def _secret(connection: Connection, encryptor: Encryptor) -> bytes:
    row = connection.execute(_READ).fetchone()
    if row is None:
        with creating(connection):
            row = connection.execute(_READ).fetchone()
            if row is None:
                secret = os.urandom(_BYTES)
                connection.execute(_ADD, (_encrypt(encryptor, secret), encryptor.key_id))
                return secret
    return _decrypt(encryptor, *row)


def _encrypt(encryptor: Encryptor, secret: bytes) -> bytes:
    return encryptor.encrypt(_PLACE._replace(value=secret))


def _decrypt(encryptor: Encryptor, encrypted: bytes, key_id: str) -> bytes:
    try:
        secret = encryptor.decrypt(encrypted, _PLACE.topic, _PLACE.partition, _PLACE.offset).value
    except InvalidTag:
        raise ConfigError(
            f"key {key_id!r} has encrypted the secret of the target's hashes of keys: put that key "
            "into [dead_letters] old_keys and call `sink-runner dlq rekey`; if it is lost, DELETE "
            "FROM sink.key_secret and sink.row_version, and older events may bring back such rows"
        ) from None
    assert secret is not None
    return secret
