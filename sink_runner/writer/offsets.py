"""Kafka offsets kept in the target database, in the transaction that applies them.

An epoch fences each partition: claiming it raises the epoch under the row's lock, and every
later write by an earlier owner finds that its epoch is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import psycopg

from ..errors import FencedError
from ..model.partition import Advance, Claim, Topic

Connection = psycopg.Connection[Any]

_CLAIM = """
INSERT INTO sink.partition_offset AS p (mapping, cluster_id, topic, topic_id, partition, owner)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (mapping, cluster_id, topic, topic_id, partition)
DO UPDATE SET epoch = p.epoch + 1, owner = excluded.owner, updated_at = now()
RETURNING epoch, next_offset, leader_epoch
"""
# The lock keeps a chunk of a batch from coming in between.
_ADVANCE = """
UPDATE sink.partition_offset p
SET next_offset = s.next_offset, leader_epoch = s.leader_epoch, updated_at = now()
FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended('sink/' || %s, 0)) OFFSET 0) together,
  unnest(%s::int[], %s::int8[], %s::int8[], %s::int8[], %s::int[])
  AS s (partition, epoch, expected, next_offset, leader_epoch)
WHERE (p.mapping, p.cluster_id, p.topic, p.topic_id) = (%s, %s, %s, %s)
  AND p.partition = s.partition AND p.epoch = s.epoch
  AND p.next_offset IS NOT DISTINCT FROM s.expected
"""
_APPLIED = """
SELECT count(*) FROM sink.partition_offset p
JOIN unnest(%s::int[], %s::int8[], %s::int8[]) AS s (partition, epoch, next_offset)
  ON p.partition = s.partition AND p.epoch = s.epoch AND p.next_offset = s.next_offset
WHERE (p.mapping, p.cluster_id, p.topic, p.topic_id) = (%s, %s, %s, %s)
"""
_NO_STEPS: Sequence[list[Any]] = [[]] * len(Advance._fields)


class OffsetStore(Protocol):
    """Fences the writes of a mapping, in the transaction that makes them."""

    def claim(self, connection: Connection, partitions: Iterable[int]) -> Mapping[int, Claim]: ...

    def advance(self, connection: Connection, steps: Iterable[Advance]) -> None: ...

    def applied(self, connection: Connection, steps: Iterable[Advance]) -> bool: ...


class Offsets:
    """One mapping's offsets of one topic."""

    def __init__(self, mapping: str, topic: Topic, owner: str) -> None:
        self._identity = (mapping, topic.cluster_id, topic.name, topic.topic_id)
        self._owner = owner

    def claim(self, connection: Connection, partitions: Iterable[int]) -> Mapping[int, Claim]:
        """Take the partitions over; waits for a transaction of their owner to end."""
        return {partition: self._claim(connection, partition) for partition in sorted(partitions)}

    def _claim(self, connection: Connection, partition: int) -> Claim:
        parameters = (*self._identity, partition, self._owner)
        (claim,) = connection.execute(_CLAIM, parameters).fetchall()
        return Claim(*claim)

    def advance(self, connection: Connection, steps: Iterable[Advance]) -> None:
        """Move the partitions on, or raise FencedError if one is no longer ours."""
        partitions, *others = _columns(steps)
        parameters = (self._identity[0], partitions, *others, *self._identity)
        missing = len(partitions) - connection.execute(_ADVANCE, parameters).rowcount
        if missing:
            raise FencedError(f"{missing} of {len(partitions)} partitions moved on")

    def applied(self, connection: Connection, steps: Iterable[Advance]) -> bool:
        """Return whether these steps were committed, if the response to a commit was lost."""
        partitions, epochs, _, next_offsets, _ = _columns(steps)
        parameters = (partitions, epochs, next_offsets, *self._identity)
        return connection.execute(_APPLIED, parameters).fetchone() == (len(partitions),)


def _columns(steps: Iterable[Advance]) -> Sequence[list[Any]]:
    """Return an array of each field of the steps."""
    return [list(column) for column in zip(*sorted(steps), strict=True)] or _NO_STEPS
