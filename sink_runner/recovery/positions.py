"""Forget the log positions of a database that was restored from a backup.

Its new log continues from the end of the backup.  Stored positions of the lost log are greater, so
new changes would be rejected as older until the new log exceeds them.
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
_DELETE_VERSIONS = "DELETE FROM sink.row_version WHERE mapping = %s"
_DELETE_CLUSTER = "DELETE FROM sink.source_cluster WHERE mapping = %s"
_DELETE_TRUNCATION = "DELETE FROM sink.truncation WHERE mapping = %s"
_TABLE_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
# Events that can be discarded, because a full batch run reads their current rows.
_ARE_UNSETTLED_EVENTS = "flow = %s AND partition IS NOT NULL AND status IN ('OPEN', 'PARKED')"
_DISCARD = f"UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE {_ARE_UNSETTLED_EVENTS}"
_COUNT_UNSETTLED = f"SELECT count(*) FROM sink.dead_letter WHERE {_ARE_UNSETTLED_EVENTS}"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of `forget` for one mapping."""

    positions: int
    dead_letters: int
    """How many dead letters and deferred events with a position of the lost log were discarded."""
    left: int
    """How many remain for a person to decide, because no batch run reads their rows."""


def offsets(connection: Connection, mapping: str, topic: Topic) -> Mapping[int, int | None]:
    """Return the next offset to apply, by partition."""
    place = (mapping, topic.cluster_id, topic.name, topic.topic_id)
    return dict(connection.execute(_OFFSETS, place).fetchall())


def count_unapplied(applied: Mapping[int, int | None], held: Mapping[int, Bounds]) -> int:
    """Return how many records of the topic are not applied yet."""
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
    """Return whether the log position, not a version column, decides which row is newer."""
    return mapping.derived is not None or mapping.conflict.strategy is Strategy.SOURCE_WINS


def forget(connection: Connection, name: str, mapping: TableMapping) -> Forgotten:
    """Delete the stored positions in the caller's transaction: the next event of any row wins."""
    positions = connection.execute(_DELETE_VERSIONS, (name,)).rowcount
    connection.execute(_DELETE_TRUNCATION, (name,))
    connection.execute(_DELETE_CLUSTER, (name,))
    dead_letters = (
        connection.execute(_DISCARD, (name,)).rowcount if compares_positions(mapping) else 0
    )
    (left,) = connection.execute(_COUNT_UNSETTLED, (name,)).fetchone() or (0,)
    if mapping.derived is not None:
        table = candidate_table(name)
        if connection.execute(_TABLE_EXISTS, (table,)).fetchone() == (True,):
            query = f"UPDATE {table} SET {LSN_COLUMN} = 0, {ORDINAL_COLUMN} = 0"
            positions += connection.execute(query.encode()).rowcount
    return Forgotten(positions, dead_letters, left)
