"""Find the mappings that read or write a restored database, and what each needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..config import Config
from ..config.database import find_database
from ..kafka.connection import KafkaConnection
from ..kafka.offset_queries import topic_bounds
from ..kafka.topic_identity import identify
from ..loading.discovery import Plugin
from ..plugin import Ignore, TableMapping
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import migrate
from ..postgres.session import connect
from .positions import (
    Forgotten,
    compares_positions,
    count_missing,
    count_unapplied,
    forget,
    offsets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one mapping needs after the restore."""

    mapping: str
    writes: bool
    """Whether the mapping writes the restored database; otherwise it reads it."""
    unapplied: int = 0
    """Records of the topic that are not applied yet."""
    missing: int = 0
    """Records that Kafka has deleted before the target applied them."""
    batch: bool = False
    """Whether only a full batch run finds the rows that were lost or restored."""

    @property
    def blocks(self) -> bool:
        """Whether events of the lost log must be applied first: later they would win as newer."""
        return not self.writes and self.unapplied > 0


def find_mappings(database: str, plugins: Iterable[Plugin], config: Config) -> Iterator[Finding]:
    """Yield what each mapping needs; nothing is changed."""
    for name, mapping, writes in _affected_mappings(database, plugins):
        left, lost = _count_records(name, mapping, config) if mapping.streaming else (0, 0)
        batch = lost > 0 or (not writes and _needs_batch(mapping))
        yield Finding(mapping=name, writes=writes, unapplied=left, missing=lost, batch=batch)


def forget_positions(
    database: str, plugins: Iterable[Plugin], config: Config
) -> dict[str, Forgotten]:
    """Forget the positions of the lost log in all target databases."""
    found = {}
    for name, mapping, writes in _affected_mappings(database, plugins):
        if writes or not mapping.streaming:  # a batch run detects the restore
            continue
        dsn = find_database(config.databases, mapping.target_table.database).dsn
        with (
            classified_errors(),
            connect(dsn, "sink-runner recover") as connection,
            connection.transaction(),
        ):
            found[name] = forget(connection, name, mapping)
    return found


def _affected_mappings(
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


def _needs_batch(mapping: TableMapping) -> bool:
    """Return whether the restored rows reach the target only by a batch run."""
    removes = not isinstance(mapping.on_remove, Ignore)
    return not mapping.streaming or removes or compares_positions(mapping)


def _count_records(name: str, mapping: TableMapping, config: Config) -> tuple[int, int]:
    kafka, topic_name = KafkaConnection.of(config.kafka), mapping.source_table.topic
    topic, held = identify(kafka, topic_name), topic_bounds(kafka, topic_name)
    dsn = find_database(config.databases, mapping.target_table.database).dsn
    with classified_errors(), connect(dsn, "sink-runner recover") as connection:
        migrate(connection)
        applied = offsets(connection, name, topic)
    return count_unapplied(applied, held), count_missing(applied, held)
