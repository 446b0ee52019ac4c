"""Every mapping that reads or writes a restored database, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg

from ..config import Config
from ..config.database import find_database
from ..kafka.connection import KafkaConnection
from ..kafka.offset_queries import topic_bounds
from ..kafka.topic_identity import identify
from ..loading.discovery import Plugin
from ..plugin import Ignore, TableMapping
from ..postgres.error_classes import classify_error
from ..postgres.migrations import migrate
from ..postgres.session import connect
from .positions import Forgotten, behind, compares, forget, missing, offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one mapping has to do with the restored database."""

    mapping: str
    writes: bool
    """It writes the database; else it reads it."""
    behind: int = 0
    """Records that are to be applied from where the target stands."""
    missing: int = 0
    """Records that Kafka no longer holds and the target has not seen."""
    batch: bool = False
    """Only a full batch run tells which rows are gone, or as they were before."""

    @property
    def blocks(self) -> bool:
        """Events of the log that was lost come first: applied later, they would seem newer."""
        return not self.writes and self.behind > 0


def look(database: str, plugins: Iterable[Plugin], config: Config) -> Iterator[Finding]:
    """What there is to do, and nothing is done yet."""
    for name, mapping, writes in _concerned(database, plugins):
        left, lost = _records(name, mapping, config) if mapping.streaming else (0, 0)
        batch = lost > 0 or (not writes and _follows(mapping))
        yield Finding(mapping=name, writes=writes, behind=left, missing=lost, batch=batch)


def forget_positions(
    database: str, plugins: Iterable[Plugin], config: Config
) -> dict[str, Forgotten]:
    """Forget the positions of the lost log, wherever they are remembered."""
    found = {}
    for name, mapping, writes in _concerned(database, plugins):
        if writes or not mapping.streaming:  # a batch notices by itself
            continue
        dsn = find_database(config.databases, mapping.target_table.database).dsn
        try:
            with connect(dsn, "sink-runner recover") as connection, connection.transaction():
                found[name] = forget(connection, name, mapping)
        except psycopg.Error as fault:
            raise classify_error(fault) from fault
    return found


def _concerned(
    database: str, plugins: Iterable[Plugin]
) -> Iterator[tuple[str, TableMapping, bool]]:
    for plugin in plugins:
        mapping = plugin.mapping
        if mapping is None:
            continue
        if mapping.target_table.database == database:
            yield plugin.name, mapping, True
        elif mapping.source_table.database == database:
            yield plugin.name, mapping, False


def _follows(mapping: TableMapping) -> bool:
    """Does the target go back to what the source says now, without an event?"""
    leaves = not isinstance(mapping.on_remove, Ignore)
    return not mapping.streaming or leaves or compares(mapping)


def _records(name: str, mapping: TableMapping, config: Config) -> tuple[int, int]:
    kafka, topic_name = KafkaConnection.of(config.kafka), mapping.source_table.topic
    topic, held = identify(kafka, topic_name), topic_bounds(kafka, topic_name)
    dsn = find_database(config.databases, mapping.target_table.database).dsn
    try:
        with connect(dsn, "sink-runner recover") as connection:
            migrate(connection)
            applied = offsets(connection, name, topic)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    return behind(applied, held), missing(applied, held)
