"""The schema registry as a writer sees it: finds the id of a schema, or registers it."""

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

_SECONDS = 2.0


class Subjects:
    """Ids of schemas by subject, remembered for a while and then asked for again."""

    def __init__(
        self,
        settings: Registry,
        *,
        keep_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = RegistryClient(settings)
        self._keep = keep_seconds
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, int, str]] = {}
        self._reason = ""
        self._lock = threading.Lock()

    def newest(self, subject: str, schema: str) -> tuple[int, str]:
        """The subject's newest schema with its id; `schema` becomes that if there is none."""
        return self._remembered(subject, "newest", lambda: self._newest(subject, schema))

    def exactly(self, subject: str, schema: str) -> tuple[int, str]:
        """This very schema with its id, registered if it is new."""
        return self._remembered(
            subject, schema, lambda: (self._registered(subject, schema), schema)
        )

    def answers(self) -> bool:
        """Whether the registry answers now."""
        try:
            self._ask("/schemas/types")
        except SinkError:
            return False
        return True

    def close(self) -> None:
        self._client.close()

    def _remembered(
        self, subject: str, what: str, ask: Callable[[], tuple[int, str]]
    ) -> tuple[int, str]:
        with self._lock:
            known = self._known.get((subject, what))
        if known is not None and self._clock() - known[0] < self._keep:
            return known[1], known[2]
        try:
            schema_id, schema = ask()
        except ConflictError:  # another client registered it between two requests
            schema_id, schema = ask()
        with self._lock:
            self._known[subject, what] = (self._clock(), schema_id, schema)
        return schema_id, schema

    def _newest(self, subject: str, schema: str) -> tuple[int, str]:
        found = self._ask(f"/subjects/{subject}/versions/latest")
        if found is None:
            return self._registered(subject, schema), schema
        return int(found["id"]), str(found["schema"])

    def _registered(self, subject: str, schema: str) -> int:
        body = json.dumps({"schema": schema}).encode()
        answer = self._ask(f"/subjects/{subject}/versions", body)
        if answer is None:
            raise RetriableError("the schema registry refuses a schema")
        return int(answer["id"])

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        """Return an answer's JSON; None if there is no such subject."""
        method = "GET" if body is None else "POST"
        try:
            found = self._client.ask(path, seconds=_SECONDS, method=method, body=body)
        except ConflictError:
            raise
        except SinkError as fault:
            self._log_failure(text_of(fault))
            raise
        self._reason = ""
        return found

    def _log_failure(self, reason: str) -> None:
        """Log why, once for each reason: a caller only learns that the registry cannot be had."""
        if reason != self._reason:
            structlog.get_logger().error("schema_registry_failed", reason=reason)
        self._reason = reason
