"""Encryption of what may not lie about in clear."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import ConfigError
from ..kafka.message import Message

_NONCE = 12  # bytes, as AES-GCM wants it
_NO_KEY = -1
_WITH_HEADERS = -2


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
        body = _packed(message.headers) if message.headers else b""
        body += struct.pack(">i", _NO_KEY if message.key is None else len(message.key))
        body += (message.key or b"") + (message.value or b"")
        return nonce + AESGCM(self.key).encrypt(nonce, body, _place(message))

    def open(self, sealed: bytes, topic: str, partition: int, offset: int) -> Message:
        place = Message(topic, partition, offset, None, None)
        body = AESGCM(self.key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _place(place))
        (length,) = struct.unpack_from(">i", body)
        if length == _WITH_HEADERS:
            (end,) = struct.unpack_from(">i", body, 4)
            pairs = json.loads(body[8 : 8 + end])
            place = place._replace(headers=tuple((n, bytes.fromhex(v)) for n, v in pairs))
            body = body[8 + end :]
            (length,) = struct.unpack_from(">i", body)
        end = 4 + max(length, 0)
        return place._replace(key=None if length < 0 else body[4:end], value=body[end:])

    def fingerprint(self, key: bytes | None) -> bytes | None:
        """Finds the letters of one row without telling which row it is."""
        return None if key is None else hmac.digest(self.key, key, hashlib.sha256)


def _packed(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Debezium's tell a new primary key from a deletion."""
    body = json.dumps([(name, (value or b"").hex()) for name, value in headers]).encode()
    return struct.pack(">ii", _WITH_HEADERS, len(body)) + body


def _place(message: Message) -> bytes:
    return f"{message.topic}/{message.partition}/{message.offset}".encode()
