"""Encryption of what may not lie about in clear."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ConfigError
from .message import Message

_NONCE = 12  # bytes, as AES-GCM wants it


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
