"""Verify bearer tokens: JWTs of one issuer, signed with one of its keys."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
import urllib3
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from urllib3.exceptions import HTTPError

from ..config.api import TokenIssuer
from .problems import ProblemError, unauthorized, unavailable

_OK = 200
_TIMEOUT_SECONDS = 3.0
_MIN_FETCH_INTERVAL = 10.0
"""Seconds between two fetches, so that tokens with unknown keys do not overload the issuer."""
_MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash")
_INVALID = "the bearer token is not valid: its signature, issuer, audience or time"


class KeySource(Protocol):
    """Provides the issuer's keys."""

    def keys(self, *, refresh: bool) -> KeySet:
        """Return the keys; `refresh` is true after a token has named an unknown key."""


class KeyFile:
    """Reads the keys from a file, and again when the file changes."""

    def __init__(self, oauth: TokenIssuer) -> None:
        assert oauth.jwks_file is not None
        self._path = oauth.jwks_file
        self._read: tuple[int, KeySet] | None = None

    def keys(self, *, refresh: bool) -> KeySet:  # noqa: ARG002 - the modification time decides
        try:
            changed = self._path.stat().st_mtime_ns
            if self._read is None or self._read[0] != changed:
                self._read = changed, _parse_keys(self._path.read_bytes())
        except OSError:
            raise unavailable("the file of the issuer's keys") from None
        return self._read[1]


class KeyUrl:
    """Fetches the keys from a URL, at most every ten seconds; uses the last ones in an outage."""

    def __init__(self, oauth: TokenIssuer, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = oauth.jwks_url
        self._interval = oauth.refresh_seconds
        self._clock = clock
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(_TIMEOUT_SECONDS), retries=False)
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._fetched_at = -float("inf")

    def keys(self, *, refresh: bool) -> KeySet:
        with self._lock:
            age = self._clock() - self._fetched_at
            if age >= self._interval or (
                age >= _MIN_FETCH_INTERVAL and (refresh or self._keys is None)
            ):
                self._fetched_at = self._clock()
                self._keys = self._fetch() or self._keys
            if self._keys is None:
                raise unavailable("the issuer of the tokens", seconds=_MIN_FETCH_INTERVAL)
            return self._keys

    def _fetch(self) -> KeySet | None:
        try:
            answer = self._pool.request("GET", self._url)
        except HTTPError:
            return None
        try:
            return _parse_keys(answer.data) if answer.status == _OK else None
        except ProblemError:
            return None


class Tokens:
    """Verifies tokens and returns their claims."""

    def __init__(self, oauth: TokenIssuer, source: KeySource | None = None) -> None:
        self._source = source or (KeyUrl(oauth) if oauth.jwks_url else KeyFile(oauth))
        self._algorithms = list(oauth.algorithms)
        self._types = frozenset(kind.lower() for kind in oauth.token_types)
        self._max_seconds = oauth.max_token_seconds + oauth.leeway_seconds
        self._claims = jwt.JWTClaimsRegistry(
            leeway=oauth.leeway_seconds,
            iss={"essential": True, "value": oauth.issuer},
            aud={"essential": True, "value": oauth.audience},
            exp={"essential": True},
        )

    def claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a valid token.  The ProblemError does not say which check failed."""
        try:
            try:
                found = self._decode(token, refresh=False)
            except InvalidKeyIdError:  # the issuer may have a new key
                found = self._decode(token, refresh=True)
            self._claims.validate(found.claims)
        except (JoseError, ValueError, TypeError):
            raise unauthorized(_INVALID) from None
        self._check_purpose(found)
        if found.claims["exp"] > time.time() + self._max_seconds:
            raise unauthorized("the bearer token expires later than api.oauth.max_token_seconds")
        return found.claims

    def _check_purpose(self, token: jwt.Token) -> None:
        """Refuse an ID token, which is for the client and grants no access to an API."""
        kind = str(token.header.get("typ", "JWT")).lower().removeprefix("application/")
        if kind not in self._types:
            raise unauthorized(
                "the type in the bearer token's header is not one of api.oauth.token_types"
            )
        claims = token.claims  # Keycloak and Cognito name the purpose in a claim
        named = {str(claims.get("typ")).lower(), str(claims.get("token_use")).lower()}
        if "id" in named or any(name in claims for name in _ID_TOKEN_CLAIMS):
            raise unauthorized("the bearer token is an ID token: send an access token")

    def _decode(self, token: str, *, refresh: bool) -> jwt.Token:
        keys = self._source.keys(refresh=refresh)
        return jwt.decode(token, keys, algorithms=self._algorithms)


def _parse_keys(text: bytes) -> KeySet:
    """Return the keys of a JSON Web Key Set, except RSA keys that are too short."""
    try:
        found = json.loads(text)["keys"]
        usable = [key for key in found if not _is_weak(key)]
        if len(usable) < len(found):
            structlog.get_logger().warning(
                "weak_keys_refused", count=len(found) - len(usable), shortest_bits=_MIN_RSA_BITS
            )
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise unavailable("the issuer's list of keys") from None


def _is_weak(key: Mapping[str, Any]) -> bool:
    """Return whether an RSA key is too short: joserfc only warns of one."""
    if key["kty"] != "RSA":
        return False
    modulus = urlsafe_b64decode(key["n"] + "==")
    return int.from_bytes(modulus, "big").bit_length() < _MIN_RSA_BITS
