"""API keys: made once, shown once, stored as a keyed hash.

A key is 256 bits of chance, so nobody can guess it and a slow hash would only be slow; the
secret makes a stolen configuration useless for checking guesses of any kind.
"""

from __future__ import annotations

import hmac
import secrets

from ..errors import ConfigError

SHORTEST_SECRET = 32
_PREFIX = "sink_"
_FORM = "hmac-sha256:"


def new_key() -> str:
    """A key to hand to a caller; the prefix lets scanners of leaked secrets find it."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(secret: str, key: str) -> str:
    """What is stored of a key."""
    return _FORM + digest(secret, b"api-key", key.encode()).hex()


def digest(secret: str, purpose: bytes, *parts: bytes) -> bytes:
    """A keyed hash of the parts, of no use for another purpose."""
    told = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose, *parts))
    return hmac.digest(secret.encode(), told, "sha256")


def check_secret(secret: str) -> None:
    """Refuse a secret that is missing or could be guessed."""
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"api.secret has less than {SHORTEST_SECRET} characters")
