"""Lock a target table, so that one batch run at a time writes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from ..config.dsn import Dsn
from ..errors import FatalError, SinkError
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect

_LOCK_CLASS = 0x51_4E_4B  # keeps the lock apart from other applications' advisory locks
_TRY_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_UNLOCK = "SELECT pg_advisory_unlock(%s, hashtext(%s))"
_FIND_HOLDER = """
SELECT a.application_name, a.pid, date_trunc('second', now() - a.backend_start)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objsubid = 2
  AND l.objid = hashtext(%s)::int8 & 4294967295
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_RETRY_SECONDS = 0.5


class BusyError(SinkError):
    """Another run is writing the target table."""


class TargetLock:
    """The lock of a target table, which is lost with its session."""

    def __init__(self, connection: Connection, target: str) -> None:
        self._connection = connection
        self._target = target

    def check(self) -> None:
        """Raise FatalError if the session, and with it the lock, is lost."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error as fault:
            raise FatalError(f"the lock of {self._target} was lost with its session") from fault


@contextmanager
def locked(
    dsn: Dsn, mapping: str, target: str, *, wait: bool, stop: threading.Event
) -> Iterator[TargetLock]:
    """Hold the table's lock for the block.  Raises BusyError if it is held and not `wait`."""
    with classified_errors():
        connection = connect(dsn, f"sink-runner batch {mapping}")
    with connection:
        while not _try_lock(connection, target):
            if not wait or stop.is_set():
                raise BusyError(f"{target} is being written by {_find_holder(connection, target)}")
            time.sleep(_RETRY_SECONDS)
        try:
            yield TargetLock(connection, target)
        finally:  # the server ends the session only after close() returns
            with suppress(psycopg.Error):
                connection.execute(_UNLOCK, (_LOCK_CLASS, target))


def _try_lock(connection: Connection, target: str) -> bool:
    row = connection.execute(_TRY_LOCK, (_LOCK_CLASS, target)).fetchone()
    return row is not None and bool(row[0])


def _find_holder(connection: Connection, target: str) -> str:
    row = connection.execute(_FIND_HOLDER, (_LOCK_CLASS, target)).fetchone()
    if row is None:
        return "another run, which has just ended"
    name, pid, age = row
    return f"{name!r}, which has run for {age} (session {pid} of the target's database)"
