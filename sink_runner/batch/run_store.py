"""Store the progress of batch runs in the target database.

The progress is written in the transaction of the rows it covers, so that the next run resumes
exactly there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from cryptography.exceptions import InvalidTag
from psycopg.rows import class_row

from ..model.message import ROWS, Message
from ..writer.encryption import Encryptor
from .snapshot import Place, Snapshot

Connection = psycopg.Connection[Any]

ENCRYPTED = "sealed:"
"""The prefix of an encrypted key in `last_key`."""

_BEGIN = """
INSERT INTO sink.batch_run (mapping, target, mode, columns, cluster, seen_before, snapshot_at,
  position, sample_position, sample_before)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING run
"""
_LAST_INTERRUPTED = """
SELECT run, mode, columns, cluster, seen_before, snapshot_at, started, last_key, counts
FROM sink.batch_run WHERE mapping = %s AND outcome = 'interrupted' ORDER BY run DESC LIMIT 1
"""
_LAST_DONE = """
SELECT run, mode, columns, cluster, seen_before, snapshot_at, started, last_key, counts
FROM sink.batch_run
WHERE mapping = %s AND outcome = 'done' AND mode IN ('full', 'changed')
ORDER BY run DESC LIMIT 1
"""
_MARK_CRASHED = """
UPDATE sink.batch_run SET outcome = 'interrupted', finished = coalesce(finished, now())
WHERE mapping = %s AND outcome = 'running'
"""
_MARK_FAILED = """
UPDATE sink.batch_run SET outcome = 'interrupted', finished = now()
WHERE run = %s AND outcome = 'running'
"""
_SUPERSEDE = """
UPDATE sink.batch_run SET outcome = 'abandoned' WHERE mapping = %s AND outcome = 'interrupted'
"""
_RESUME = """
UPDATE sink.batch_run SET outcome = 'running', finished = NULL,
  position = %s, sample_position = %s, sample_before = %s WHERE run = %s
"""
_PROGRESS = """
UPDATE sink.batch_run SET last_key = %s, counts = %s, progressed = now() WHERE run = %s
"""
_REACHED = "SELECT last_key, counts FROM sink.batch_run WHERE run = %s"
_FINISH = """
UPDATE sink.batch_run SET outcome = %s, finished = now(), counts = %s, checks = %s WHERE run = %s
"""
# A run uses the latest safe position: the older ones matter only if a transaction stays open for
# that many runs.  Without a safe position it is 0, and the rows lose to every stored version.
_PLACES = """
SELECT DISTINCT sample_position, sample_before FROM (
  SELECT sample_position, sample_before FROM sink.batch_run WHERE cluster = %s
  ORDER BY run DESC LIMIT 100) s
"""
# Each write of an offset row changes its xmin.
_APPLIED = """
SELECT array_agg(xmin::text ORDER BY cluster_id, topic, topic_id, partition)
FROM sink.partition_offset WHERE mapping = %s
"""
_FORGET = "DELETE FROM sink.row_version WHERE mapping = %s"
# Earlier releases stored every key unencrypted.
_CLEAR_KEYS = f"""
UPDATE sink.batch_run SET last_key = NULL
WHERE mapping = %s AND outcome IN ('done', 'abandoned') AND NOT last_key[1] LIKE '{ENCRYPTED}%%'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """What a stored run has read, and how far."""

    run: int
    mode: str
    columns: int
    cluster: str
    seen_before: int
    snapshot_at: datetime
    last_key: list[str] | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(StoredRun):
    """One row of sink.batch_run."""

    started: datetime


R = TypeVar("R", bound=StoredRun)


@dataclass(frozen=True, slots=True)
class KeyCipher:
    """Encrypts the last key of a run, which may be personal; without an encryptor, does nothing."""

    place: str
    """The table and mapping that, with the run, the encryption binds the key to."""
    encryptor: Encryptor | None

    def hide(self, run: int, key: list[str]) -> list[str]:
        if self.encryptor is None:
            return key
        message = self._message(run)._replace(value=json.dumps(key).encode())
        return [ENCRYPTED + base64.b64encode(self.encryptor.encrypt(message)).decode()]

    def read(self, run: int, key: list[str] | None) -> list[str] | None:
        """Decrypt a key; None if its encryption key is missing, so that the run is not resumed."""
        if self.encryptor is None or not key or not key[0].startswith(ENCRYPTED):
            return key
        try:
            encrypted = base64.b64decode(key[0].removeprefix(ENCRYPTED))
            value = self.encryptor.decrypt(encrypted, *self._message(run)[:3]).value
        except (ValueError, InvalidTag):
            return None
        found: list[str] = json.loads(value or b"null")
        return found

    def fetch_run(
        self, connection: Connection, query: str, mapping: str, row_class: type[R]
    ) -> R | None:
        """Return the run that the query finds for a mapping, with its key decrypted."""
        with connection.cursor(row_factory=class_row(row_class)) as cursor:
            run = cursor.execute(query.encode(), (mapping,)).fetchone()
        return run and replace(run, last_key=self.read(run.run, run.last_key))

    def _message(self, run: int) -> Message:
        return Message(self.place, ROWS, run, None, None)


class RunStore:
    """The runs of one mapping.  Each call runs in the caller's transaction."""

    def __init__(self, mapping: str, target: str, encryptor: Encryptor | None = None) -> None:
        """`encryptor` encrypts the last key of a run; None if the source's key is not personal."""
        self._mapping = mapping
        self._target = target
        self._keys = KeyCipher(f"sink.batch_run/{mapping}", encryptor)

    def interrupted(self, connection: Connection) -> Run | None:
        """Return the last run if it was interrupted.

        Call it with the target's lock held: then a run that is marked as running has crashed.
        """
        connection.execute(_MARK_CRASHED, (self._mapping,))
        return self._find(connection, _LAST_INTERRUPTED)

    def finished(self, connection: Connection) -> Run | None:
        """Return the last run that read all rows, or all changes, to the end."""
        return self._find(connection, _LAST_DONE)

    def log_places(self, cluster: str, connection: Connection) -> Sequence[Place]:
        """Return the positions in the source's log that earlier runs stored."""
        return [Place(*row) for row in connection.execute(_PLACES, (cluster,)).fetchall()]

    def begin(self, connection: Connection, mode: str, columns: int, snapshot: Snapshot) -> int:
        """Store a new run; an interrupted one can no longer be resumed."""
        connection.execute(_SUPERSEDE, (self._mapping,))
        parameters = (self._mapping, self._target, mode, columns, snapshot.cluster)
        seen = (snapshot.seen_before, snapshot.at, snapshot.place.position, *snapshot.sampled)
        row = connection.execute(_BEGIN, (*parameters, *seen)).fetchone()
        assert row is not None
        return int(row[0])

    def resume(self, connection: Connection, run: Run, snapshot: Snapshot) -> int:
        """Continue a run; the rows that it has read stay those of its first snapshot."""
        places = (snapshot.place.position, *snapshot.sampled)
        connection.execute(_RESUME, (*places, run.run))
        return run.run

    def progress(
        self, connection: Connection, run: int, last_key: Sequence[str], counts: Mapping[str, int]
    ) -> None:
        key = self._keys.hide(run, list(last_key))
        connection.execute(_PROGRESS, (key, json.dumps(counts), run))

    def reached(self, connection: Connection, run: int) -> tuple[list[str] | None, dict[str, int]]:
        """Return the last key that was committed, and the counts up to it."""
        row = connection.execute(_REACHED, (run,)).fetchone()
        assert row is not None
        return self._keys.read(run, row[0]), row[1]

    def mark_failed(self, connection: Connection, run: int) -> None:
        """Mark a run that ends with an error; the next run resumes it."""
        connection.execute(_MARK_FAILED, (run,))

    def finish(
        self,
        connection: Connection,
        run: int,
        outcome: str,
        counts: Mapping[str, int],
        checks: Mapping[str, Any],
    ) -> None:
        connection.execute(_FINISH, (outcome, json.dumps(counts), json.dumps(checks), run))
        if self._keys.encryptor is not None:
            connection.execute(_CLEAR_KEYS.encode(), (self._mapping,))

    def forget_positions(self, connection: Connection) -> None:
        """Forget the mapping's positions: they belong to another log."""
        connection.execute(_FORGET, (self._mapping,))

    def applied(self, connection: Connection) -> list[str] | None:
        """Return a value that changes whenever an event of the mapping is applied."""
        row = connection.execute(_APPLIED, (self._mapping,)).fetchone()
        assert row is not None
        found: list[str] | None = row[0]
        return found

    def _find(self, connection: Connection, query: str) -> Run | None:
        return self._keys.fetch_run(connection, query, self._mapping, Run)
