"""The HTTP client of the schema registry: login, TLS, several URLs, and what a failure means."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from ..config.registry import Registry
from ..config.tls import Refusal, check_tls
from ..errors import AccessError, ConfigError, RetriableError, TimedOutError

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _SERVER_ERROR = 200, 401, 403, 404, 409, 500
_NO_SUCH = frozenset({40401, 40402, 40403})  # subject, version, schema
"""Confluent's codes in the body: the registry itself says so, not a proxy before it."""
_MAX_CONNECTIONS = 16
"""Kept open, since many mappings start at the same moment; more are opened where needed."""
_ADVICE: Mapping[Refusal, str] = {
    "untrusted": "check registry.ca_file, and registry.url for its host name",
    "certificate": "check registry.certificate_file and registry.key_file",
    "no TLS": "check registry.url, which says https://",
    "TLS": "write registry.url with https://",
}


class ConflictError(RetriableError):
    """Not compatible, or made by another client at the same moment: Apicurio says both alike."""


@dataclass(frozen=True, slots=True)
class _Session:
    """Connections, and the header that signs each request."""

    context: ssl.SSLContext | None
    pool: urllib3.PoolManager
    login: Mapping[str, str]


class RegistryClient:
    """Sends requests to whichever URL answers; threads may share it.

    Secrets and files are read for the first request, and again when the registry refuses them, so a
    rotation needs no restart.
    """

    def __init__(self, settings: Registry) -> None:
        self._settings = settings
        self._first = 0
        self._session: _Session | None = None
        self._lock = threading.Lock()

    def ask(
        self, path: str, *, seconds: float, method: str = "GET", body: bytes | None = None
    ) -> Any:
        """Return an answer's JSON; None if the registry says that there is no such schema.

        Raises AccessError where the registry refuses the client or its certificate is not trusted,
        TimedOutError and RetriableError for an outage, ConflictError for a schema that it refuses.
        """
        status, data = self._answer(path, seconds, method, body)
        parsed = parse_json(data)
        if status == _OK and parsed is not None:
            return parsed
        code = parsed.get("error_code") if isinstance(parsed, dict) else None
        if status == _NOT_FOUND and code in _NO_SUCH:
            return None
        kind = ConflictError if status == _CONFLICT else RetriableError
        raise kind(f"the schema registry answers {status} to {path}")

    def close(self) -> None:
        """Close the connections; another request opens them again."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.pool.clear()

    def _answer(
        self, path: str, seconds: float, method: str, body: bytes | None
    ) -> tuple[int, bytes]:
        """Ask one URL after the other, beginning with the one that answered last."""
        urls, first = self._settings.urls, self._first
        faults: list[AccessError | RetriableError] = []
        for turn in range(len(urls)):
            at = (first + turn) % len(urls)
            try:
                try:
                    found = self._send(urls[at], path, seconds, method, body)
                except AccessError:
                    self.close()  # credentials that are read again may be accepted
                    found = self._send(urls[at], path, seconds, method, body)
            except (AccessError, RetriableError) as fault:
                faults.append(fault)
            else:
                self._first = at
                return found
        raise next((fault for fault in faults if isinstance(fault, AccessError)), faults[-1])

    def _send(
        self, url: str, path: str, seconds: float, method: str, body: bytes | None
    ) -> tuple[int, bytes]:
        session = self._signed_in()
        headers = {**session.login, "Accept": "application/vnd.schemaregistry.v1+json"}
        if body is not None:
            headers["Content-Type"] = "application/vnd.schemaregistry.v1+json"
        try:
            answer = session.pool.request(
                method, url + path, body=body, headers=headers, timeout=seconds
            )
        except HTTPTimeoutError as exc:
            raise TimedOutError(_silent(exc)) from None
        except HTTPError as exc:
            check_tls("the schema registry", url, session.context, _ADVICE, seconds)
            raise RetriableError(_silent(exc)) from None
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise self._refused(url, answer.status)
        if answer.status >= _SERVER_ERROR:
            raise RetriableError(f"the schema registry answers {answer.status} to {path}")
        return answer.status, answer.data

    def _signed_in(self) -> _Session:
        """The current session, or one with secrets and files that are read now."""
        settings = self._settings
        with self._lock:
            if self._session is None:
                context = self._tls_context() if settings.is_encrypted else None
                options = settings.pool_options(context)
                pool = urllib3.PoolManager(
                    retries=False, maxsize=_MAX_CONNECTIONS, block=False, **options
                )
                self._session = _Session(context, pool, self._login())
            return self._session

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return self._settings.tls_context()
        except ValueError as fault:
            raise ConfigError(f"registry: {fault}") from None

    def _login(self) -> Mapping[str, str]:
        settings = self._settings
        if settings.token is not None:
            token = settings.token.read()
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise ConfigError("registry.token must be one line of ASCII without spaces")
            return {"Authorization": f"Bearer {token}"}
        if settings.password is not None:
            login = f"{settings.username}:{settings.password.read()}".encode()
            return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
        return {}

    def _refused(self, url: str, status: int) -> AccessError:
        settings = self._settings
        if settings.token is not None:
            who, keys = "the token", "registry.token"
        elif settings.password is not None:
            who, keys = f"user {settings.username!r}", "registry.username and registry.password"
        else:
            who = "a client without credentials"
            keys = "registry.username and registry.password, or registry.token"
        rights = ", and that it may read and register schemas" if status == _FORBIDDEN else ""
        return AccessError(
            f"the schema registry {url} refuses {who} (status {status}): check {keys}{rights}"
        )


def _silent(fault: HTTPError) -> str:
    return f"the schema registry does not answer: {type(fault).__name__}"


def parse_json(text: bytes | str) -> Any:
    """Parse JSON; None for any other text."""
    try:
        return json.loads(text)
    except ValueError:
        return None
