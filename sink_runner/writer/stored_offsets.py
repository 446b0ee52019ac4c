"""Read how far each partition is applied, from outside the transactions that advance it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ..postgres.session import Connection

# A topic that was created again has new rows here; the old topic's rows no longer change.
_NEXT = """
SELECT DISTINCT ON (partition) partition, next_offset, owner, updated_at FROM sink.partition_offset
WHERE mapping = %s AND topic = %s ORDER BY partition, updated_at DESC
"""


class Progress(NamedTuple):
    """How far a partition is applied."""

    next_offset: int
    """0: nothing is applied."""
    owner: str
    """The process that claimed the partition last."""
    updated_at: datetime


def read_progress(connection: Connection, mapping: str, topic: str) -> dict[int, Progress]:
    """Return how far each partition of a topic is applied."""
    found = connection.execute(_NEXT, (mapping, topic)).fetchall()
    return {partition: Progress(offset or 0, *rest) for partition, offset, *rest in found}
