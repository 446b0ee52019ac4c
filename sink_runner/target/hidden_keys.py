"""A target's key as text that is kept beside the rows: hidden where it may be a person's.

The runner's own tables name rows by their keys, long after the rows are gone.  What a policy calls
personal is kept there as a hash with a secret, for there are so few Aadhaar numbers that anybody
could try them all.  The secret is made once for a database, and lies there sealed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag

from ..dead_letters.sealing import Sealer
from ..errors import ConfigError
from ..kafka.message import Message
from .changes import Key
from .session import creating

Connection = psycopg.Connection[Any]

_BYTES = 32
_SETTING = "sink.key_secret"
_PLACE = Message(_SETTING, 0, 0, None, None)
_READ = "SELECT sealed, key_id FROM sink.key_secret"
_ADD = "INSERT INTO sink.key_secret (sealed, key_id) VALUES (%s, %s)"
_RESEAL = "UPDATE sink.key_secret SET sealed = %s, key_id = %s"
_USE = f"SELECT set_config('{_SETTING}', %s, false)"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """How one mapping's keys are kept."""

    shown: bool
    sealer: Sealer

    def __call__(self, key: Key) -> str:
        """For people to read, and to find all that happened to a row."""
        text = ",".join(map(str, key))
        return text if self.shown else (self.sealer.fingerprint(text.encode()) or b"").hex()

    def sql(self, array: str) -> str:
        """The same for the target itself, of a JSON array; a session of it is prepared before."""
        return f"{array}::text" if self.shown else _hashed(f"{array}::text")

    def prepare(self, connection: Connection, mapping: str) -> None:
        """Let a session hide keys, and hide those that were kept before they were personal."""
        if self.shown:
            return
        secret = _secret(connection, self.sealer)
        connection.execute(_USE, (secret.hex(),))
        connection.execute(_HIDE.encode(), (mapping,))


def _hashed(text: str) -> str:
    salted = f"convert_to(current_setting('{_SETTING}') || {text}, 'UTF8')"
    return f"encode(sha256({salted}), 'hex')"


# No hash begins like an array.
_HIDE = f"UPDATE sink.row_version SET key = {_hashed('key')} WHERE mapping = %s AND key ^@ '['"


def reseal(connection: Connection, sealer: Sealer) -> None:
    """Seal the secret, if there is one, with the present key."""
    with creating(connection):
        row = connection.execute(_READ).fetchone()
        if row is not None:
            secret = _opened(sealer, *row)
            connection.execute(_RESEAL, (_sealed(sealer, secret), sealer.key_id))


def _secret(connection: Connection, sealer: Sealer) -> bytes:
    row = connection.execute(_READ).fetchone()
    if row is None:
        with creating(connection):
            row = connection.execute(_READ).fetchone()
            if row is None:
                secret = os.urandom(_BYTES)
                connection.execute(_ADD, (_sealed(sealer, secret), sealer.key_id))
                return secret
    return _opened(sealer, *row)


def _sealed(sealer: Sealer, secret: bytes) -> bytes:
    return sealer.seal(_PLACE._replace(value=secret))


def _opened(sealer: Sealer, sealed: bytes, key_id: str) -> bytes:
    try:
        secret = sealer.open(sealed, _PLACE.topic, _PLACE.partition, _PLACE.offset).value
    except InvalidTag:
        raise ConfigError(
            f"key {key_id!r} has sealed what hides personal keys in the target: put it into "
            "[dead_letters] old_keys and call `sink-runner dlq rekey`"
        ) from None
    assert secret is not None
    return secret
