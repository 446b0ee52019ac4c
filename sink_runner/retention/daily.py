"""Purge the configured databases while a runner runs, every `retention.purge_hours`."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import structlog

from ..config import Config
from ..error_text import describe
from ..loading import discovery
from ..postgres.migrations import has_tables
from ..postgres.session import connect
from .purge import Purge, PurgeBusyError

_FIRST_SECONDS = 60.0  # after the start of the mappings
_RETRY_SECONDS = 3600.0


@contextmanager
def purging(config: Config, plugins: Collection[discovery.Plugin]) -> Iterator[None]:
    """Purge all configured databases during the block, one after another, in a thread."""
    stop = threading.Event()
    seconds = config.retention.purge_hours * 3600
    thread = threading.Thread(
        target=_loop, args=(config, plugins, seconds, stop), name="purge", daemon=True
    )
    try:
        if seconds:
            thread.start()
        yield
    finally:
        stop.set()
        if seconds:
            thread.join(2.0)


def purge_all(config: Config, plugins: Collection[discovery.Plugin]) -> bool:
    """Purge every database that has the runner's tables; return False if one failed.

    A database that another process is purging counts as purged.
    """
    succeeded = True
    for name, database in config.databases.items():
        log = structlog.get_logger().bind(database=name)
        try:
            with connect(database.dsn, "sink-runner purge") as connection:
                if has_tables(connection):
                    for table, rows in Purge(config, name, plugins).run(connection):
                        if rows:
                            log.info("rows_purged", table=table, rows=rows)
        except PurgeBusyError:
            continue
        except Exception as fault:  # noqa: BLE001 - a failed purge must not end the runner
            log.warning("purge_failed", reason=describe(fault))
            succeeded = False
    return succeeded


def _loop(
    config: Config, plugins: Collection[discovery.Plugin], seconds: float, stop: threading.Event
) -> None:
    pause = min(_FIRST_SECONDS, seconds)
    while not stop.wait(pause):
        pause = seconds if purge_all(config, plugins) else min(_RETRY_SECONDS, seconds)
