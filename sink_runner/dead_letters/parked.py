"""The dead letters that wait to be tried again: found, opened and settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import psycopg
from cryptography.exceptions import InvalidTag

from ..errors import RetriableError, WaitingError
from ..kafka.message import ROWS, Message
from .dead_letter import DeadLetter, described
from .sealing import Sealer

Connection = psycopg.Connection[Any]
WaitingKey: TypeAlias = tuple[int, bytes]
"""A partition and the fingerprint of a key in it.

Events without a key wait for each other; rows of a batch without one wait by themselves.
"""

# The index sync_dlq_parked is over these very expressions.
_PLACE = f"coalesce(partition, {ROWS})"
_KEY = (
    "coalesce(event_key_hash, CASE WHEN partition IS NULL THEN int8send(dlq_id) ELSE ''::bytea END)"
)
_KEYS = f"""
SELECT DISTINCT {_PLACE}, {_KEY} FROM sync_dlq
WHERE flow = %s AND {_PLACE} = ANY (%s) AND status = 'PARKED'
ORDER BY 1, 2 -- rows without a key, whose own number is their key: the oldest first
"""
_TAKE = f"""
SELECT d.dlq_id, k.partition, k.key, d.topic, d."offset", d.source_data, d.created_at < %s
FROM unnest(%s::int[], %s::bytea[]) AS k (partition, key)
CROSS JOIN LATERAL (
  SELECT dlq_id, topic, "offset", source_data, created_at FROM sync_dlq
  WHERE flow = %s AND {_PLACE} = k.partition AND {_KEY} = k.key AND status = 'PARKED'
  ORDER BY dlq_id LIMIT %s
) d
ORDER BY d.dlq_id
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


class ParkedEvent(NamedTuple):
    """A parked letter, opened."""

    dlq_id: int
    key: WaitingKey
    message: Message
    expired: bool
    """It has waited for longer than it may."""
    fault: WaitingError | None = None
    """Why it could not be opened; the message is empty then."""


class Parked:
    """One mapping's parked letters."""

    at_once = 10
    """So many of a key are taken at once."""

    def __init__(self, mapping: str, sealer: Sealer) -> None:
        self._mapping = mapping
        self._sealer = sealer

    def keys(self, partitions: Collection[int], connection: Connection) -> list[WaitingKey]:
        """The keys of these partitions that have parked letters."""
        return connection.execute(_KEYS.encode(), (self._mapping, list(partitions))).fetchall()

    def take(
        self, keys: Sequence[WaitingKey], oldest: datetime, connection: Connection
    ) -> list[ParkedEvent]:
        """The first few of each key, in the order in which they were parked."""
        partitions, hashes = [key[0] for key in keys], [key[1] for key in keys]
        found = connection.execute(
            _TAKE.encode(), (oldest, partitions, hashes, self._mapping, self.at_once)
        )
        return [self._opened(row) for row in found]

    def _opened(self, row: tuple[Any, ...]) -> ParkedEvent:
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
        """Mark those that were applied, and those of the letters as failed for good."""
        failed = {id(letter.message): letter for letter in letters}
        replayed = [event.dlq_id for event in ended if id(event.message) not in failed]
        opened = [
            (*described(failed[id(event.message)].error), event.dlq_id)
            for event in ended
            if id(event.message) in failed
        ]
        with connection.cursor() as cursor:
            settled = cursor.execute(_REPLAYED, (replayed,)).rowcount
            if opened:
                cursor.executemany(_OPEN, opened)
                settled += cursor.rowcount
        if settled != len(ended):  # a person has settled some; ask again what there is
            raise RetriableError("parked events were settled by somebody else")
