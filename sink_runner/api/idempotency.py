"""Idempotency keys: a repeated request gets the first response and publishes nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import NamedTuple

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ..postgres.migrations import migrate
from .api_keys import digest
from .problems import ProblemError, unavailable
from .responses import Accepted

_CLAIM_GRACE_SECONDS = 30.0
"""Added to the time that publishing may take: after that, a claim is from a crashed process."""
_PURGE_SECONDS = 60.0

# A key can be claimed if it is unknown, has expired, or was claimed by a process that crashed.
_CLAIM = """
INSERT INTO sink.api_request AS r (request, content) VALUES (%(request)s, %(content)s)
ON CONFLICT (request) DO UPDATE
SET content = excluded.content, places = NULL, claimed_at = now()
WHERE r.claimed_at < now() - %(keep)s
   OR (r.places IS NULL AND r.claimed_at < now() - %(unsettled)s)
RETURNING true
"""
_FIND = "SELECT content, places FROM sink.api_request WHERE request = %s"
_STORE_ANSWER = "UPDATE sink.api_request SET places = %s WHERE request = %s"
_RELEASE = "DELETE FROM sink.api_request WHERE request = %s AND places IS NULL"
_PURGE = "DELETE FROM sink.api_request WHERE claimed_at < now() - %s"


class KeyedRequest(NamedTuple):
    """A request with an Idempotency-Key: caller, topic and key identify it."""

    caller: str
    topic: str
    key: str
    body: bytes


class IdempotencyStore:
    """The table sink.api_request; threads share it."""

    def __init__(
        self,
        pool: ConnectionPool[psycopg.Connection],
        *,
        secret: str,
        keep: timedelta,
        delivery_seconds: float,
    ) -> None:
        self._pool = pool
        self._secret = secret
        self._keep = keep
        self._claim_timeout = timedelta(seconds=delivery_seconds + _CLAIM_GRACE_SECONDS)
        self._lock = threading.Lock()
        self._created = False
        self._purged = -float("inf")

    def once(self, request: KeyedRequest, publish: Callable[[], list[Accepted]]) -> list[Accepted]:
        """Publish and store the answer, or return the stored answer of the first request."""
        caller, topic, key = (part.encode() for part in request[:3])
        name = digest(self._secret, b"request", caller, topic, key)
        content = digest(self._secret, b"body", request.body)
        try:
            places = self._claim(name, content)
        except (psycopg.Error, PoolTimeout):
            raise unavailable("the database that remembers Idempotency-Keys") from None
        if places is None:
            return self._publish(name, publish)
        return [
            Accepted(topic=request.topic, partition=partition, offset=offset)
            for partition, offset in places
        ]

    def _publish(self, name: bytes, publish: Callable[[], list[Accepted]]) -> list[Accepted]:
        try:
            accepted = publish()
        except BaseException:
            with suppress(psycopg.Error, PoolTimeout), self._pool.connection() as connection:
                connection.execute(_RELEASE, (name,))
            raise
        places = json.dumps([[one.partition, one.offset] for one in accepted])
        # The events are durable whether or not this succeeds.  If it fails, a repeated request is
        # refused until the claim expires.
        with suppress(psycopg.Error, PoolTimeout), self._pool.connection() as connection:
            connection.execute(_STORE_ANSWER, (places, name))
        return accepted

    def _claim(self, name: bytes, content: bytes) -> list[list[int]] | None:
        """Claim the key and return None, or return partition and offset of the first events."""
        values = {"request": name, "content": content, "keep": self._keep}
        values["unsettled"] = self._claim_timeout
        with self._pool.connection() as connection:
            self._migrate_and_purge(connection)
            if connection.execute(_CLAIM, values).fetchone():
                return None
            found = connection.execute(_FIND, (name,)).fetchone()
        if found is None or (bytes(found[0]) == content and found[1] is None):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "in-progress",
                "the first request with this Idempotency-Key is not answered yet",
                headers={"Retry-After": "1"},
            )
        if bytes(found[0]) != content:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "this Idempotency-Key came with another body before; use a new one",
            )
        places: list[list[int]] = found[1]
        return places

    def _migrate_and_purge(self, connection: psycopg.Connection) -> None:
        with self._lock:
            if not self._created:
                migrate(connection)
                self._created = True
            if time.monotonic() - self._purged < _PURGE_SECONDS:
                return
            self._purged = time.monotonic()
        connection.execute(_PURGE, (self._keep,))
