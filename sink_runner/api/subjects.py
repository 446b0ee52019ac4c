"""Find the ids of schemas in the registry, and register new ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from ..config.registry import Registry
from ..error_text import text_of
from ..errors import RetriableError, SinkError
from ..schema_registry.client import ConflictError, RegistryClient

_TIMEOUT_SECONDS = 2.0


class Subjects:
    """Ids of schemas by subject, cached for `keep_seconds`."""

    def __init__(
        self,
        settings: Registry,
        *,
        keep_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = RegistryClient(settings)
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._cache: dict[tuple[str, str], tuple[float, int, str]] = {}
        self._reason = ""
        self._lock = threading.Lock()

    def find_newest(self, subject: str, schema: str) -> tuple[int, str]:
        """Return id and text of the subject's newest schema; register `schema` if there is none."""
        return self._cached(subject, "newest", lambda: self._find_newest(subject, schema))

    def find_or_register(self, subject: str, schema: str) -> tuple[int, str]:
        """Return id and text of this schema; register it if it is new."""
        return self._cached(subject, schema, lambda: (self._register(subject, schema), schema))

    def answers(self) -> bool:
        """Return whether the registry answers now."""
        try:
            self._request("/schemas/types")
        except SinkError:
            return False
        return True

    def close(self) -> None:
        self._client.close()

    def _cached(
        self, subject: str, what: str, ask: Callable[[], tuple[int, str]]
    ) -> tuple[int, str]:
        with self._lock:
            known = self._cache.get((subject, what))
        if known is not None and self._clock() - known[0] < self._keep_seconds:
            return known[1], known[2]
        try:
            schema_id, schema = ask()
        except ConflictError:  # another client registered it between two requests
            schema_id, schema = ask()
        with self._lock:
            self._cache[subject, what] = (self._clock(), schema_id, schema)
        return schema_id, schema

    def _find_newest(self, subject: str, schema: str) -> tuple[int, str]:
        found = self._request(f"/subjects/{subject}/versions/latest")
        if found is None:
            return self._register(subject, schema), schema
        return int(found["id"]), str(found["schema"])

    def _register(self, subject: str, schema: str) -> int:
        body = json.dumps({"schema": schema}).encode()
        answer = self._request(f"/subjects/{subject}/versions", body)
        if answer is None:
            raise RetriableError("the schema registry refuses a schema")
        return int(answer["id"])

    def _request(self, path: str, body: bytes | None = None) -> Any:
        """Return the JSON of a response; None if the subject does not exist."""
        method = "GET" if body is None else "POST"
        try:
            found = self._client.ask(path, seconds=_TIMEOUT_SECONDS, method=method, body=body)
        except ConflictError:
            raise
        except SinkError as fault:
            self._log_failure(text_of(fault))
            raise
        self._reason = ""
        return found

    def _log_failure(self, reason: str) -> None:
        """Log each new reason once: callers only get a 503."""
        if reason != self._reason:
            structlog.get_logger().error("schema_registry_failed", reason=reason)
        self._reason = reason
