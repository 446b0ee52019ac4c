"""A mapping with its target database, where its state and what is wanted of it are stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..batch.lock import BusyError
from ..config import Config
from ..config.database import find_database
from ..plugin import TableMapping
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import migrate
from ..postgres.session import Connection, connect
from .store import pauses


@dataclass(frozen=True, slots=True)
class Target:
    """The means to open sessions for one mapping."""

    name: str
    mapping: TableMapping
    config: Config

    @contextmanager
    def session(self, application: str = "sink-runner control") -> Iterator[Connection]:
        """Open a session in which the runner's tables are this version's; classify its errors."""
        dsn = find_database(self.config.databases, self.mapping.target_table.database).dsn
        with classified_errors(), connect(dsn, application) as connection:
            migrate(connection)
            yield connection


def refuse_paused(target: Target) -> None:
    """Raise BusyError, with the way out, if a person paused the mapping."""
    with target.session() as connection:
        pause = pauses(connection, [target.name]).get(target.name)
    if pause is not None:
        raise BusyError(
            f"mapping {target.name!r} is paused: {pause}; run `sink-runner resume {target.name}` "
            "first, or add --even-if-paused"
        )
