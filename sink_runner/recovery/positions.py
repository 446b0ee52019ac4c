"""Positions of a log that is no more: forgotten, or what comes after would pass for older.

A restored database's log begins where its backup ended.  What was remembered of the log that was
lost is further on, so every new change would be refused until the new log has grown past it.
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
# A full batch run brings their rows anew, as they are now.
_OF_EVENTS = "flow = %s AND partition IS NOT NULL AND status IN ('OPEN', 'PARKED')"
_DISCARD = f"UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE {_OF_EVENTS}"
_LEFT = f"SELECT count(*) FROM sink.dead_letter WHERE {_OF_EVENTS}"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed of a mapping that compares positions."""

    positions: int
    dead_letters: int
    """Dead letters and deferred events with a position of before, which were discarded."""
    left: int
    """Those that a person has to decide on, for no batch would bring their rows anew."""


def offsets(connection: Connection, mapping: str, topic: Topic) -> Mapping[int, int | None]:
    """How far the target is, by partition."""
    place = (mapping, topic.cluster_id, topic.name, topic.topic_id)
    return dict(connection.execute(_OFFSETS, place).fetchall())


def behind(applied: Mapping[int, int | None], held: Mapping[int, Bounds]) -> int:
    """How many records of the topic are still to be applied."""
    return sum(
        max(0, bound.end - (applied.get(partition) or bound.first))
        for partition, bound in held.items()
    )


def missing(applied: Mapping[int, int | None], held: Mapping[int, Bounds]) -> int:
    """How many records Kafka has deleted that the target has not seen."""
    return sum(
        max(0, bound.first - (applied.get(partition) or 0)) for partition, bound in held.items()
    )


def compares(mapping: TableMapping) -> bool:
    """Does a position decide which of two rows stays, time set aside?"""
    return mapping.derived is not None or mapping.conflict.strategy is Strategy.SOURCE_WINS


def forget(connection: Connection, name: str, mapping: TableMapping) -> Forgotten:
    """In the caller's transaction: the next event of every row is the newer one."""
    positions = connection.execute(_FORGET, (name,)).rowcount
    connection.execute(_FORGET_TRUNCATION, (name,))
    connection.execute(_FORGET_CLUSTER, (name,))
    dead_letters = connection.execute(_DISCARD, (name,)).rowcount if compares(mapping) else 0
    (left,) = connection.execute(_LEFT, (name,)).fetchone() or (0,)
    if mapping.derived is not None:
        table = candidate_table(name)
        if connection.execute(_KNOWN, (table,)).fetchone() == (True,):
            query = f"UPDATE {table} SET {LSN_COLUMN} = 0, {ORDINAL_COLUMN} = 0"
            positions += connection.execute(query.encode()).rowcount
    return Forgotten(positions, dead_letters, left)
