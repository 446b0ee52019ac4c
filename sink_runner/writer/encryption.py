"""Encryption of dead letters and of the secret of key hashes.

A dead letter names its key, so keys can be rotated: new dead letters are encrypted with the new
key while the old keys still decrypt the others.  The fingerprint of a Kafka key identifies the dead
letters of a row, so all fingerprints are made with one key: the oldest, until
`sink-runner dlq rekey --fingerprints` makes them with the new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..config import Config
from ..errors import ConfigError
from ..model.message import Message

_NONCE = 12  # bytes, the size that AES-GCM recommends
_NO_KEY = -1
_WITH_HEADERS = -2
_WITHOUT_VALUE = -3
"""Prefix of an encrypted tombstone, which differs from a record with an empty value."""


@dataclass(frozen=True)
class Encryptor:
    """Encrypts payloads with AES-256-GCM; `key_id` is the key that decrypts them."""

    key: bytes = field(repr=False)
    key_id: str
    old_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The keys by their names, the oldest first."""

    def __post_init__(self) -> None:
        if any(len(key) != 32 for key in (self.key, *self.old_keys.values())):  # noqa: PLR2004 - AES-256
            raise ConfigError("the dead letter key must be 32 bytes, base64 encoded")
        if self.key_id in self.old_keys:
            raise ConfigError(f"dead_letters.old_keys has the key {self.key_id!r}, which is in use")

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The names of the keys that can decrypt."""
        return (self.key_id, *self.old_keys)

    def renewed(self) -> Encryptor:
        """Return an Encryptor without the old keys."""
        return replace(self, old_keys={})

    def encrypt(self, message: Message) -> bytes:
        """Encrypt a record without its position and leader epoch, which no dead letter needs."""
        nonce = os.urandom(_NONCE)
        body = b"" if message.value is not None else struct.pack(">i", _WITHOUT_VALUE)
        body += _packed(message.headers) if message.headers else b""
        body += struct.pack(">i", _NO_KEY if message.key is None else len(message.key))
        body += (message.key or b"") + (message.value or b"")
        return nonce + AESGCM(self.key).encrypt(nonce, body, _place(message))

    def decrypt(self, encrypted: bytes, topic: str, partition: int, offset: int) -> Message:
        """Decrypt a record; raises InvalidTag if another key encrypted it or it was changed."""
        place = Message(topic, partition, offset, None, None)
        body = self._decrypt_body(encrypted, _place(place))
        (length,) = struct.unpack_from(">i", body)
        tombstone = length == _WITHOUT_VALUE
        if tombstone:
            body = body[4:]
            (length,) = struct.unpack_from(">i", body)
        if length == _WITH_HEADERS:
            (end,) = struct.unpack_from(">i", body, 4)
            pairs = json.loads(body[8 : 8 + end])
            place = place._replace(headers=tuple((n, bytes.fromhex(v)) for n, v in pairs))
            body = body[8 + end :]
            (length,) = struct.unpack_from(">i", body)
        end = 4 + max(length, 0)
        key = None if length < 0 else body[4:end]
        return place._replace(key=key, value=None if tombstone else body[end:])

    def fingerprint(self, key: bytes | None) -> bytes | None:
        """Return a keyed hash of a Kafka key, which finds the dead letters of its row."""
        first = next(iter(self.old_keys.values()), self.key)
        return None if key is None else hmac.digest(first, key, hashlib.sha256)

    def _decrypt_body(self, encrypted: bytes, place: bytes) -> bytes:
        for key in (self.key, *self.old_keys.values()):
            try:
                return AESGCM(key).decrypt(encrypted[:_NONCE], encrypted[_NONCE:], place)
            except (InvalidTag, ValueError):  # ValueError if it is not a ciphertext
                continue
        raise InvalidTag


def _packed(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Debezium's headers distinguish a change of the primary key from a deletion."""
    body = json.dumps([(name, (value or b"").hex()) for name, value in headers]).encode()
    return struct.pack(">ii", _WITH_HEADERS, len(body)) + body


def _place(message: Message) -> bytes:
    return f"{message.topic}/{message.partition}/{message.offset}".encode()


def build_encryptor(config: Config) -> Encryptor:
    """Return the encryption of dead letters, with the configured keys."""
    keys = config.dead_letters
    try:
        key = base64.b64decode(keys.key, validate=True)
        old = {name: base64.b64decode(k, validate=True) for name, k in keys.old_keys.items()}
    except binascii.Error as fault:
        raise ConfigError("a key of the dead letters is not base64") from fault
    return Encryptor(key, keys.key_id, old)
