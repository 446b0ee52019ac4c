"""The dead letters that others wait behind: found, opened and settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import psycopg
from cryptography.exceptions import InvalidTag

from ..errors import RetriableError, WaitingError
from ..kafka.message import ROWS, Message
from .dead_letter import DeadLetter, described, waits
from .sealing import Sealer

Connection = psycopg.Connection[Any]
WaitingKey: TypeAlias = tuple[int, bytes]
"""A partition and the fingerprint of a key in it.

Events without a key wait for each other; rows of a batch without one wait by themselves.
"""

# The index sync_dlq_held is over these very expressions, and of these letters.
_PLACE = f"coalesce(partition, {ROWS})"
_KEY = (
    "coalesce(event_key_hash, CASE WHEN partition IS NULL THEN int8send(dlq_id) ELSE ''::bytea END)"
)
_HELD = "status IN ('OPEN', 'PARKED') AND (status = 'PARKED' OR partition IS NOT NULL)"
_KEYS = f"""
SELECT DISTINCT ON (1, 2) {_PLACE}, {_KEY}, status = 'PARKED' FROM sync_dlq
WHERE flow = %s AND {_PLACE} = ANY (%s) AND {_HELD}
ORDER BY 1, 2, dlq_id -- rows without a key, whose own number is their key: the oldest first
"""
_TAKE = f"""
SELECT d.dlq_id, k.partition, k.key, d.topic, d."offset", d.source_data, d.created_at < %s,
  d.status
FROM unnest(%s::int[], %s::bytea[]) AS k (partition, key)
CROSS JOIN LATERAL (
  SELECT dlq_id, topic, "offset", source_data, created_at, status FROM sync_dlq
  WHERE flow = %s AND {_PLACE} = k.partition AND {_KEY} = k.key AND {_HELD}
  ORDER BY dlq_id LIMIT %s
) d
ORDER BY d.dlq_id
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE status = 'OPEN'), count(*) FILTER (WHERE status = 'PARKED'),
  count(partition) FILTER (WHERE status = 'OPEN')
FROM sync_dlq WHERE flow = %s AND status IN ('OPEN', 'PARKED')
"""
_REPLAYED = """
UPDATE sync_dlq SET status = 'REPLAYED', attempts = attempts + 1
WHERE dlq_id = ANY (%s) AND status = 'PARKED'
"""
_OPEN = """
UPDATE sync_dlq SET status = 'OPEN', attempts = attempts + 1,
  error_class = %s, sqlstate = %s, error_message = %s, stack_trace = %s
WHERE dlq_id = %s AND status = 'PARKED'
"""


class Counts(NamedTuple):
    """How many letters a mapping has, in all partitions."""

    open: int
    parked: int
    failed: int
    """Those of `open` that are events, and not rows of a batch."""


class ParkedEvent(NamedTuple):
    """A parked letter, opened."""

    dlq_id: int
    key: WaitingKey
    message: Message
    expired: bool
    """It has waited for longer than it may."""
    fault: WaitingError | None = None
    """Why it could not be opened; the message is empty then."""


class Taken(NamedTuple):
    """What was found of some keys."""

    events: list[ParkedEvent]
    blocked: set[WaitingKey]
    """Those where, after the events, comes one that a person has to decide on."""


class Parked:
    """One mapping's letters that hold up others."""

    at_once = 10
    """So many of a key are taken at once."""

    def __init__(self, mapping: str, sealer: Sealer) -> None:
        self._mapping = mapping
        self._sealer = sealer

    def keys(self, partitions: Collection[int], connection: Connection) -> dict[WaitingKey, bool]:
        """The keys of these partitions that others wait behind, and whether the runner may try
        them again: a person decides on the others."""
        found = connection.execute(_KEYS.encode(), (self._mapping, list(partitions)))
        return {(place, key): ready for place, key, ready in found}

    def counts(self, connection: Connection) -> Counts:
        found = connection.execute(_COUNTS, (self._mapping,)).fetchone()
        assert found is not None
        return Counts(*found)

    def take(self, keys: Sequence[WaitingKey], oldest: datetime, connection: Connection) -> Taken:
        """The first few of each key, in the order in which they were parked."""
        partitions, hashes = [key[0] for key in keys], [key[1] for key in keys]
        found = connection.execute(
            _TAKE.encode(), (oldest, partitions, hashes, self._mapping, self.at_once)
        )
        taken = Taken([], set())
        for *row, status in found:
            key = row[1], row[2]
            if status != "PARKED":
                taken.blocked.add(key)
            elif key not in taken.blocked:
                taken.events.append(self._opened(row))
        return taken

    def _opened(self, row: Sequence[Any]) -> ParkedEvent:
        dlq_id, at, key, topic, offset, sealed, expired = row
        fault = None
        try:
            message = self._sealer.open(sealed, topic, at, offset)
        except InvalidTag:  # its key may come back with the next start
            message = Message(topic, at, offset, None, None)
            fault = WaitingError("sealed with another key than the dead letters have now")
        return ParkedEvent(dlq_id, (at, key), message, expired, fault)

    def settle(
        self, ended: Sequence[ParkedEvent], connection: Connection, letters: Sequence[DeadLetter]
    ) -> None:
        """Mark those that were applied, and those of the letters as failed; others still wait."""
        failed = {id(letter.message): letter for letter in letters}
        replayed = [event.dlq_id for event in ended if id(event.message) not in failed]
        opened = [
            (*described(letter.error), event.dlq_id)
            for event in ended
            if (letter := failed.get(id(event.message))) and not waits(letter)
        ]
        with connection.cursor() as cursor:
            settled = cursor.execute(_REPLAYED, (replayed,)).rowcount
            if opened:
                cursor.executemany(_OPEN, opened)
                settled += cursor.rowcount
        if settled != len(replayed) + len(opened):  # by a person; ask again what there is
            raise RetriableError("parked events were settled by somebody else")
