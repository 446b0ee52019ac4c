"""Restart the runners one after the other, so that they read settings and plugins again.

Python cannot replace loaded modules reliably, so a runner replaces its process: it finishes its
batches as after SIGTERM and executes its own command line again, under the same process number.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import structlog

from ..postgres.session import Connection
from .heartbeat import ENDED, GONE_SECONDS

_LOCK = 0x5C_4E_D1  # keeps the lock apart from other applications'
_CHECK_SECONDS = 45.0
"""Less than GONE_SECONDS, because no heartbeat is written meanwhile."""
_REQUEST = """
INSERT INTO sink.control_request (mapping, kind, requested_by) VALUES ('', 'reload', %s)
"""
_NEWEST = "SELECT coalesce(max(request), 0) FROM sink.control_request WHERE kind = 'reload'"
_TAKE = """
UPDATE sink.control_request SET taken_by = %s, taken_at = now(), finished_at = now(),
  outcome = %s, detail = %s WHERE request = %s
"""
_TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s)"
_OTHERS_RESTART = f"""
SELECT EXISTS (SELECT FROM sink.mapping_status
  WHERE runner <> %s AND state IN ('{ENDED}', 'starting')
    AND seen_at > now() - interval '{GONE_SECONDS:.0f} s')
"""


def request_reload(connection: Connection, user: str) -> None:
    """Let every runner of this target database restart."""
    connection.execute(_REQUEST, (user,))


def check_settings() -> str:
    """Return why this process could not start again with the present settings and plugins.

    Returns "" if it could.
    """
    command = [sys.executable, *sys.orig_argv[1:], "--check"]
    try:
        done = subprocess.run(  # noqa: S603 - this program, by its own path
            command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"`sink-runner run --check` did not end within {_CHECK_SECONDS:g} seconds"
    return (done.stderr or done.stdout).strip() if done.returncode or done.stdout else ""


class ReloadWatch:
    """Stops one runner for a restart when a reload is requested and it is its turn."""

    def __init__(
        self, runner: str, stop: threading.Event, check: Callable[[], str] = check_settings
    ) -> None:
        """`check` returns why the process could not start again; "" if it could."""
        self._runner = runner
        self._stop = stop
        self._check = check
        self._followed: int | None = None
        self._log = structlog.get_logger()
        self._is_due = False
        self._is_cancelled = False

    @property
    def is_due(self) -> bool:
        """Whether the process is to be replaced when it has stopped."""
        return self._is_due and not self._is_cancelled

    def cancel(self) -> None:
        """Stop the runner without a restart, even if one has begun: a signal has to end it."""
        self._is_cancelled = True
        self._stop.set()

    def follow(self, connection: Connection) -> None:
        """Follow a new request.  A restart keeps its lock until this session ends."""
        ((newest,),) = connection.execute(_NEWEST).fetchall()
        if self._followed is None:  # what was requested before this process began
            self._followed = newest
        if newest == self._followed or not self._may_restart(connection):
            return
        self._followed = newest
        reason = self._check()
        outcome = "refused" if reason else "restarted"
        connection.execute(_TAKE, (self._runner, outcome, reason, newest))
        if reason:
            connection.execute(_UNLOCK, (_LOCK,))
            self._log.error("reload_refused", reason=reason)
            return
        self._is_due = True
        self._log.info("reload_followed")
        self._stop.set()

    def _may_restart(self, connection: Connection) -> bool:
        """Take the lock, unless another runner holds it or has not started again yet."""
        if connection.execute(_TRY_LOCK, (_LOCK,)).fetchone() != (True,):
            return False
        if connection.execute(_OTHERS_RESTART, (self._runner,)).fetchone() == (True,):
            connection.execute(_UNLOCK, (_LOCK,))
            return False
        return True
