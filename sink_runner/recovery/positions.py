"""Forget the log positions of a database that was restored from a backup.

Its log begins where the backup ended.  The stored positions of the lost log are greater, so every
new change would be rejected as older until the new log has grown past them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from ..kafka.feed import Bounds
from ..model.partition import Topic
from ..plugin import Strategy, TableMapping
from ..writer.candidates import candidate_table
from ..writer.log_position import LSN_COLUMN, ORDINAL_COLUMN

Connection = psycopg.Connection[Any]

_OFFSETS = """
SELECT partition, next_offset FROM sink.partition_offset
WHERE (mapping, cluster_id, topic, topic_id) = (%s, %s, %s, %s)
"""
_FORGET = "DELETE FROM sink.row_version WHERE mapping = %s"
_FORGET_CLUSTER = "DELETE FROM sink.source_cluster WHERE mapping = %s"
_FORGET_TRUNCATION = "DELETE FROM sink.truncation WHERE mapping = %s"
_KNOWN = "SELECT to_regclass(%s) IS NOT NULL"
# A full batch run reads their current rows.
_OF_EVENTS = "flow = %s AND partition IS NOT NULL AND status IN ('OPEN', 'PARKED')"
_DISCARD = f"UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE {_OF_EVENTS}"
_LEFT = f"SELECT count(*) FROM sink.dead_letter WHERE {_OF_EVENTS}"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed of a mapping that compares positions."""

    positions: int
    dead_letters: int
    """Dead letters and deferred events with a position of the lost log, which were discarded."""
    left: int
    """Those that are left for a decision, since no batch run reads their rows."""


def offsets(connection: Connection, mapping: str, topic: Topic) -> Mapping[int, int | None]:
    """Return the next offset to apply, by partition."""
    place = (mapping, topic.cluster_id, topic.name, topic.topic_id)
    return dict(connection.execute(_OFFSETS, place).fetchall())


def count_unapplied(applied: Mapping[int, int | None], held: Mapping[int, Bounds]) -> int:
    """Return how many records of the topic are still to be applied."""
    return sum(
        max(0, bound.end - (applied.get(partition) or bound.first))
        for partition, bound in held.items()
    )


def count_missing(applied: Mapping[int, int | None], held: Mapping[int, Bounds]) -> int:
    """Return how many records Kafka has deleted before the target applied them."""
    return sum(
        max(0, bound.first - (applied.get(partition) or 0)) for partition, bound in held.items()
    )


def compares_positions(mapping: TableMapping) -> bool:
    """Return whether the log position, and no version column, decides which row is newer."""
    return mapping.derived is not None or mapping.conflict.strategy is Strategy.SOURCE_WINS


def forget(connection: Connection, name: str, mapping: TableMapping) -> Forgotten:
    """In the caller's transaction, make the next event of every row the newer one."""
    positions = connection.execute(_FORGET, (name,)).rowcount
    connection.execute(_FORGET_TRUNCATION, (name,))
    connection.execute(_FORGET_CLUSTER, (name,))
    dead_letters = (
        connection.execute(_DISCARD, (name,)).rowcount if compares_positions(mapping) else 0
    )
    (left,) = connection.execute(_LEFT, (name,)).fetchone() or (0,)
    if mapping.derived is not None:
        table = candidate_table(name)
        if connection.execute(_KNOWN, (table,)).fetchone() == (True,):
            query = f"UPDATE {table} SET {LSN_COLUMN} = 0, {ORDINAL_COLUMN} = 0"
            positions += connection.execute(query.encode()).rowcount
    return Forgotten(positions, dead_letters, left)
