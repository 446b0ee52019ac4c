"""Fetch tokens for SASL/OAUTHBEARER, and keep them until shortly before they expire."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import urllib3
from kafka.net.sasl.oauth import AbstractTokenProvider
from urllib3.exceptions import HTTPError

from ..config.kafka import OAuth
from ..errors import AccessError, RetriableError

_SECONDS = 10.0
_OK, _SERVER_ERROR = 200, 500
_UNKNOWN_LIFETIME = 300.0
_RENEWED_AT = 0.8
"""Part of a token's lifetime after which another one is fetched, as librdkafka does."""


class Token(NamedTuple):
    """A token and the time of its expiry, in seconds since 1970."""

    text: str
    expires: float


class TokenSource(AbstractTokenProvider):  # type: ignore[misc] # kafka-python ships no types
    """Gives both clients the current token; threads may share it."""

    def __init__(self, oauth: OAuth, clock: Callable[[], float] = time.time) -> None:
        self._oauth = oauth
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0

    def token(self) -> str:
        """Return the text of a valid token, for kafka-python."""
        return self.current().text

    def current(self) -> Token:
        """Return a valid token.

        Raises ConfigError for an unusable setting, secret or token, RetriableError where the token
        endpoint does not answer.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._renew_at:
                fetched = self._fetch()
                left = fetched.expires - self._clock()
                if left <= 0:
                    raise AccessError(
                        "the token of kafka.security.oauth has expired: check what renews it"
                    )
                self._token, self._renew_at = fetched, self._clock() + left * _RENEWED_AT
            return self._token

    def forget(self) -> None:
        """Fetch another token next time, since the broker refuses this one."""
        with self._lock:
            self._token = None

    def _fetch(self) -> Token:
        if self._oauth.token is not None:
            text = self._oauth.token.read()
            return Token(text, _expiry(text) or self._clock() + _UNKNOWN_LIFETIME)
        answer = self._request_token()
        try:
            text = str(answer["access_token"])
            lifetime = float(answer.get("expires_in", _UNKNOWN_LIFETIME))
        except (KeyError, TypeError, ValueError):
            raise RetriableError(f"{self._endpoint} answers without access_token") from None
        return Token(text, self._clock() + lifetime)

    @property
    def _endpoint(self) -> str:
        return f"kafka.security.oauth.token_endpoint {self._oauth.token_endpoint}"

    def _request_token(self) -> Any:
        oauth = self._oauth
        assert oauth.client_secret is not None
        fields = {"grant_type": "client_credentials"}
        fields |= {"scope": oauth.scope} if oauth.scope else {}
        login = f"{oauth.client_id}:{oauth.client_secret.read()}".encode()
        authorities = str(oauth.ca_file) if oauth.ca_file else None
        try:
            with urllib3.PoolManager(retries=False, timeout=_SECONDS, ca_certs=authorities) as pool:
                answer = pool.request_encode_body(
                    "POST",
                    oauth.token_endpoint,
                    fields=fields,
                    encode_multipart=False,
                    headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
                )
        except HTTPError as fault:
            raise RetriableError(
                f"{self._endpoint} does not answer: {type(fault).__name__}"
            ) from None
        if answer.status >= _SERVER_ERROR:
            raise RetriableError(f"{self._endpoint} answers with status {answer.status}")
        if answer.status != _OK:
            raise AccessError(
                f"{self._endpoint} grants no token (status {answer.status}): check "
                "kafka.security.oauth.client_id, client_secret and scope"
            )
        try:
            return answer.json()
        except ValueError:
            raise RetriableError(f"{self._endpoint} does not answer with JSON") from None


@cache
def token_source(oauth: OAuth) -> TokenSource:
    """Return the source that all clients of these settings share."""
    return TokenSource(oauth)


def _expiry(token: str) -> float | None:
    """The claim `exp` of a JWT, which only the broker verifies; None for any other token."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
