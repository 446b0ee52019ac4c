"""Connect a runner with its operators: read what they want, and report the state of each mapping.

One session for each target database; its thread reads every second for all mappings, so a worker
asks without a query.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import structlog

from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..control import heartbeat
from ..control.heartbeat import Heartbeat
from ..control.reload import ReloadWatch
from ..control.store import Wanted, wanted
from ..error_text import describe
from ..loading.discovery import Plugin
from ..model.status import Health
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import migrate
from ..postgres.session import Connection, connect
from .periodic import Outages, repeating
from .versions import runner_version

SECONDS = 1.0
"""How often what operators want is read; a worker looks at it several times as often."""
BEAT_SECONDS = 5.0
_STATEMENT_SECONDS = 5.0
WantedOf = Callable[[str], Wanted]


def runner_name() -> str:
    """Return the name of this process, which is unique among running ones."""
    return f"{socket.gethostname()}:{os.getpid()}"


class ControlLink:
    """The connection of a runner with one target database.  Any thread may call it."""

    def __init__(
        self,
        database: str,
        dsn: Dsn,
        versions: Mapping[str, Mapping[str, str]],
        health: Health,
        *,
        runner: str = "",
        reload: ReloadWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`versions` are the versions that are reported of each mapping of this database.

        `reload` follows requests for a restart; one link of a runner has it.
        """
        self._database = database
        self._dsn = dsn
        self._versions = versions
        self._health = health
        self._runner = runner or runner_name()
        self._reload = reload
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._wanted: Mapping[str, Wanted] | None = None
        self._written: Sequence[tuple[str, str]] = ()
        self._written_at = -BEAT_SECONDS
        self._outages = Outages()
        self._log = structlog.get_logger()

    def wanted_of(self, mapping: str) -> Wanted:
        """Return what operators want of the mapping, as of the last read.

        Before the first read it reads; then it may raise what `connect` raises, or RetriableError.
        While the database does not answer, the last answer holds: nothing can be written, either.
        """
        if self._wanted is None:
            with self._lock, classified_errors():
                self._read()
        assert self._wanted is not None
        return self._wanted[mapping]

    def turn(self) -> None:
        """Read what operators want; write a heartbeat if it is due or a state has changed."""
        reason = ""
        try:
            with self._lock:
                self._read()
                self._beat()
                self._follow_reload()
        except Exception as fault:  # noqa: BLE001 - the workers report their own errors
            self._disconnect()
            reason = describe(fault)
        if self._outages.begins(self._database, reason):
            self._log.warning("control_failed", database=self._database, reason=reason)

    def close(self) -> None:
        """Report that this runner has ended."""
        with self._lock, suppress(psycopg.Error):
            if self._connection is not None:
                heartbeat.end(self._connection, self._runner)
        self._disconnect()

    def _read(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, "sink-runner control", _STATEMENT_SECONDS)
            migrate(self._connection)
        self._wanted = wanted(self._connection, self._versions.keys())

    def _beat(self) -> None:
        assert self._connection is not None
        beats = [self._state(name, versions) for name, versions in self._versions.items()]
        states = [(one.state, one.reason) for one in beats]
        now = self._clock()
        if states == self._written and now - self._written_at < BEAT_SECONDS:
            return
        heartbeat.write(self._connection, beats)
        self._written, self._written_at = states, now

    def _follow_reload(self) -> None:
        if self._reload is not None and self._connection is not None:
            self._reload.follow(self._connection)

    def _state(self, mapping: str, versions: Mapping[str, str]) -> Heartbeat:
        assert self._wanted is not None
        pause = self._wanted[mapping].pause
        return heartbeat.beat(self._health, mapping, self._runner, pause, versions)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@contextmanager
def linked(
    config: Config, plugins: Sequence[Plugin], health: Health, reload: ReloadWatch
) -> Iterator[WantedOf]:
    """Connect these plugins' mappings with their target databases during the block.

    One of the databases has the lock by which the runners restart one after the other.
    """
    by_database: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for one in plugins:
        assert one.mapping is not None
        by_database[one.mapping.target_table.database][one.name] = _versions(one)
        health.mapping(one.name)  # it is starting
    links: dict[str, ControlLink] = {}
    with ExitStack() as stack:
        for database, versions in sorted(by_database.items()):
            dsn = find_database(config.databases, database).dsn
            watch = None if links else reload
            link = ControlLink(database, dsn, versions, health, reload=watch)
            links |= dict.fromkeys(versions, link)
            name = f"control-{database}"
            stack.enter_context(repeating(name, link.turn, SECONDS, link.close))
        yield lambda mapping: links[mapping].wanted_of(mapping)


def _versions(plugin: Plugin) -> Mapping[str, str]:
    return {
        "sink-runner": runner_version(),
        "python": platform.python_version(),
        plugin.distribution or plugin.name: plugin.version,
    }
