"""The schema registry as a writer sees it: finds the id of a schema, or registers it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from ..errors import RetriableError

_OK = 200
_NOT_FOUND = 404
_CONFLICT = 409
_SUBJECT_NOT_FOUND = 40401


class Subjects:
    """Ids of schemas by subject, remembered for a while and then asked for again."""

    def __init__(
        self,
        url: str,
        *,
        keep_seconds: float,
        timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._keep = keep_seconds
        self._clock = clock
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout), retries=False, maxsize=4, block=False
        )
        self._known: dict[tuple[str, str], tuple[float, int, str]] = {}
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
            self._ask("GET", "/schemas/types")
        except RetriableError:
            return False
        return True

    def close(self) -> None:
        self._pool.clear()

    def _remembered(
        self, subject: str, what: str, ask: Callable[[], tuple[int, str]]
    ) -> tuple[int, str]:
        with self._lock:
            known = self._known.get((subject, what))
        if known is not None and self._clock() - known[0] < self._keep:
            return known[1], known[2]
        try:
            schema_id, schema = ask()
        except _ConflictError:  # somebody made the subject between two questions of ours
            schema_id, schema = ask()
        with self._lock:
            self._known[subject, what] = (self._clock(), schema_id, schema)
        return schema_id, schema

    def _newest(self, subject: str, schema: str) -> tuple[int, str]:
        found = self._ask("GET", f"/subjects/{subject}/versions/latest")
        if found is None:
            return self._registered(subject, schema), schema
        return int(found["id"]), str(found["schema"])

    def _registered(self, subject: str, schema: str) -> int:
        body = json.dumps({"schema": schema}).encode()
        answer = self._ask("POST", f"/subjects/{subject}/versions", body)
        if answer is None:
            raise RetriableError("the schema registry refuses a schema")
        return int(answer["id"])

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """An answer's JSON; None if there is no such subject."""
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        try:
            answer = self._pool.request(method, self._url + path, body=body, headers=headers)
            told = json.loads(answer.data)
        except (HTTPError, ValueError) as fault:
            raise RetriableError(
                f"the schema registry does not answer: {type(fault).__name__}"
            ) from fault
        if answer.status == _OK:
            return told
        if answer.status == _NOT_FOUND and told.get("error_code") == _SUBJECT_NOT_FOUND:
            return None
        kind = _ConflictError if answer.status == _CONFLICT else RetriableError
        raise kind(f"the schema registry answers {answer.status}")


class _ConflictError(RetriableError):
    """Not compatible, or made by somebody else at the same moment: Apicurio says both alike."""
