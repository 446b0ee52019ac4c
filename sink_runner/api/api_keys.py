"""API keys: printed once, stored as a keyed hash.

A key has 256 random bits, so a slow hash would add nothing.  Without the secret, the hashes of a
stolen configuration cannot be compared with guesses.
"""

from __future__ import annotations

import hmac
import secrets

from ..errors import ConfigError

MIN_SECRET_LENGTH = 32
_PREFIX = "sink_"
_HASH_PREFIX = "hmac-sha256:"


def new_key() -> str:
    """Return a new key, with a prefix that secret scanners can find."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(secret: str, key: str) -> str:
    """Return the keyed hash of a key, which the configuration stores."""
    return _HASH_PREFIX + digest(secret, b"api-key", key.encode()).hex()


def digest(secret: str, purpose: bytes, *parts: bytes) -> bytes:
    """Return a keyed hash of the parts, different for each purpose."""
    message = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose, *parts))
    return hmac.digest(secret.encode(), message, "sha256")


def check_secret(secret: str) -> None:
    """Raise ConfigError if the secret is missing or short enough to guess."""
    if len(secret) < MIN_SECRET_LENGTH:
        raise ConfigError(f"api.secret has less than {MIN_SECRET_LENGTH} characters")
