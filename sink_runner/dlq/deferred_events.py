"""Find, decrypt and settle the deferred events of a mapping, and find blocked keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

import psycopg
from cryptography.exceptions import InvalidTag

from ..errors import RetriableError, WaitingError
from ..model.batch import WaitingKey
from ..model.dead_letter import DeadLetter, is_blocked, waits
from ..model.message import Message
from ..model.portions import DEFAULT_BYTES
from ..postgres.error_classes import TAKEN
from ..writer.dead_letters import described
from ..writer.encryption import Encryptor
from .superseding import KEY, PLACE

Connection = psycopg.Connection[Any]
_HELD = "status IN ('OPEN', 'PARKED') AND (status = 'PARKED' OR partition IS NOT NULL)"
_KEYS = f"""
SELECT DISTINCT ON (1, 2) {PLACE}, {KEY}, status = 'PARKED' FROM sink.dead_letter
WHERE flow = %s AND {PLACE} = ANY (%s) AND {_HELD}
ORDER BY 1, 2, dlq_id -- rows without a key, whose own number is their key: the oldest first
"""
# If newer rows supersede older ones, no event waits for the decision of a person.
_KEYS_ANY = f"""
SELECT {PLACE}, {KEY}, bool_or(status = 'PARKED') FROM sink.dead_letter
WHERE flow = %s AND {PLACE} = ANY (%s) AND {_HELD}
GROUP BY 1, 2 ORDER BY 1, 2
"""
# Events that wait for another row to give up a value, in any partition.
_CONTENDING = f"""
SELECT {PLACE}, {KEY} FROM sink.dead_letter
WHERE flow = %s AND status = 'PARKED' AND sqlstate = ANY (%s) AND (partition IS NULL) = %s
GROUP BY 1, 2 ORDER BY min(dlq_id) LIMIT %s
"""
# The size of a value that is stored out of line is known without reading it.
_HEADS = """
SELECT k.n - 1, d.dlq_id, d.size, d.status
FROM unnest(%s::int[], %s::bytea[]) WITH ORDINALITY AS k (partition, key, n)
CROSS JOIN LATERAL (
  SELECT dlq_id, octet_length(source_data) AS size, status FROM sink.dead_letter
  WHERE flow = %s AND {place} = k.partition AND {key} = k.key AND {held}
  ORDER BY dlq_id {order} LIMIT %s
) d
ORDER BY k.n, d.dlq_id {order}
"""
_OLDEST = _HEADS.format(place=PLACE, key=KEY, held=_HELD, order="ASC")
_NEWEST = _HEADS.format(place=PLACE, key=KEY, held="status = 'PARKED'", order="DESC")
_READ = f"""
SELECT dlq_id, {PLACE}, {KEY}, topic, "offset", source_data, created_at < %s
FROM sink.dead_letter WHERE dlq_id = ANY (%s) AND status = 'PARKED' ORDER BY dlq_id
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE status = 'OPEN'), count(*) FILTER (WHERE status = 'PARKED'),
  count(partition) FILTER (WHERE status = 'OPEN')
FROM sink.dead_letter WHERE flow = %s AND status IN ('OPEN', 'PARKED')
"""
_REPLAYED = """
UPDATE sink.dead_letter SET status = 'REPLAYED', attempts = attempts + 1
WHERE dlq_id = ANY (%s) AND status = 'PARKED'
"""
# The reason may have changed, and `contending` selects by its SQLSTATE.
_STILL_WAITS = """
UPDATE sink.dead_letter d SET error_class = now.error_class, sqlstate = now.sqlstate,
  error_message = now.error_message, stack_trace = now.stack_trace
FROM (VALUES (%s, %s::text, %s, %s, %s::bigint))
  AS now (error_class, sqlstate, error_message, stack_trace, dlq_id)
WHERE d.dlq_id = now.dlq_id AND status = 'PARKED'
  AND (d.sqlstate, d.error_message) IS DISTINCT FROM (now.sqlstate, now.error_message)
"""
_OPEN = """
UPDATE sink.dead_letter SET status = 'OPEN', attempts = attempts + 1,
  error_class = %s, sqlstate = %s, error_message = %s, stack_trace = %s
WHERE dlq_id = %s AND status = 'PARKED'
"""


class Counts(NamedTuple):
    """How many dead letters a mapping has, in all partitions."""

    open: int
    deferred: int
    failed: int
    """Those of `open` that are events and not rows of a batch run."""


class DeferredEvent(NamedTuple):
    """A deferred event, decrypted."""

    dlq_id: int
    key: WaitingKey
    message: Message
    expired: bool
    """Whether it has waited for longer than `[waiting] give_up_hours`."""
    first: bool
    """Whether no other dead letter of its key comes before it, apart from those also taken."""
    fault: WaitingError | None = None
    """The reason why it could not be decrypted; then the message is empty."""


class Taken(NamedTuple):
    """The events of some keys that `take` returns."""

    events: list[DeferredEvent]
    blocked: set[WaitingKey]
    """Keys with an open dead letter after the events, about which a person has to decide."""
    reached: list[WaitingKey]
    """The keys whose events fitted into `most_bytes`."""
    cut: set[WaitingKey]
    """Those of `reached` that may have more events."""


class _Heads(NamedTuple):
    """The dead letters of one key that may be taken, by number and size."""

    oldest: list[tuple[int, int]]
    newest: list[tuple[int, int]]
    blocked: bool

    def in_turn(self) -> list[tuple[int, int]]:
        """Return newest and oldest alternately, each once."""
        turns = zip_longest(self.newest, self.oldest)
        return list(dict.fromkeys(head for turn in turns for head in turn if head is not None))


def _fitting(heads: Sequence[tuple[int, int]], room: int, least: int) -> list[tuple[int, int]]:
    """Return the first heads whose sizes fit into `room` bytes, but at least `least` of them."""
    for at, (_, size) in enumerate(heads):
        if at >= least and size > room:
            return list(heads[:at])
        room -= size
    return list(heads)


class DeferredEvents:
    """One mapping's dead letters that block other events."""

    at_once = 10
    """The most events of a key that are taken at once."""

    def __init__(self, mapping: str, encryptor: Encryptor, most_bytes: int = DEFAULT_BYTES) -> None:
        self._mapping = mapping
        self._encryptor = encryptor
        self.most_bytes = most_bytes
        """The bytes of payloads that are read at once."""

    def keys(
        self, partitions: Collection[int], connection: Connection, *, supersedes: bool = False
    ) -> dict[WaitingKey, bool]:
        """Return the blocked keys of these partitions.

        The value is True if the runner may retry the key, False if a person has to decide about its
        first event.
        """
        query = _KEYS_ANY if supersedes else _KEYS
        found = connection.execute(query.encode(), (self._mapping, list(partitions)))
        return {(place, key): ready for place, key, ready in found}

    def contending(self, connection: Connection, *, rows: bool, most: int) -> list[WaitingKey]:
        """Return the keys of events, or of a batch's rows, that wait for a unique value.

        They include keys of other runners' partitions: rows that swap values have to be written
        together.
        """
        return connection.execute(
            _CONTENDING.encode(), (self._mapping, list(TAKEN), rows, most)
        ).fetchall()

    def counts(self, connection: Connection) -> Counts:
        found = connection.execute(_COUNTS, (self._mapping,)).fetchone()
        assert found is not None
        return Counts(*found)

    def take(
        self,
        keys: Sequence[WaitingKey],
        oldest: datetime,
        connection: Connection,
        *,
        supersedes: bool = False,
    ) -> Taken:
        """Return the first events of each key, in the order in which they were deferred.

        If newer events supersede older ones, also return the last few.  Together their payloads
        have at most `most_bytes`, unless a single one has more.
        """
        taken, numbers, first = Taken([], set(), [], set()), list[int](), set[int]()
        room = self.most_bytes
        found = self._heads(keys, connection, supersedes=supersedes)
        for key, heads in zip(keys, found, strict=True):
            in_turn = heads.in_turn()
            # Always take the newest and oldest of the first key, so that there is progress.
            fitting = _fitting(in_turn, room, 0 if numbers else 1 + supersedes)
            if in_turn and not fitting:
                break
            taken.reached.append(key)
            if heads.blocked:
                taken.blocked.add(key)
            windows = len(heads.oldest), len(heads.newest)
            if len(fitting) < len(in_turn) or self.at_once in windows:
                taken.cut.add(key)
            numbers += [number for number, _ in fitting]
            room -= sum(size for _, size in fitting)
            first.update(number for number, _ in heads.oldest)
        for row in connection.execute(_READ.encode(), (oldest, numbers)):
            taken.events.append(self._decrypt(row, first=row[0] in first))
        return taken

    def _heads(
        self, keys: Sequence[WaitingKey], connection: Connection, *, supersedes: bool
    ) -> list[_Heads]:
        found = [_Heads([], [], blocked=False) for _ in keys]
        parameters = (
            [key[0] for key in keys],
            [key[1] for key in keys],
            self._mapping,
            self.at_once,
        )
        for at, number, size, status in connection.execute(_OLDEST.encode(), parameters):
            if status != "PARKED":
                found[at] = found[at]._replace(blocked=True)
            elif not found[at].blocked:
                found[at].oldest.append((number, size))
        if supersedes:
            for at, number, size, _ in connection.execute(_NEWEST.encode(), parameters):
                found[at].newest.append((number, size))
        return found

    def _decrypt(self, row: Sequence[Any], *, first: bool) -> DeferredEvent:
        dlq_id, at, key, topic, offset, encrypted, expired = row
        fault = None
        try:
            message = self._encryptor.decrypt(encrypted, topic, at, offset)
        except InvalidTag:  # the next start may have its key again
            message = Message(topic, at, offset, None, None)
            fault = WaitingError("it is encrypted with a key that is not in [dead_letters]")
        return DeferredEvent(dlq_id, (at, key), message, expired, first, fault)

    def settle(
        self,
        ended: Sequence[DeferredEvent],
        connection: Connection,
        dead_letters: Sequence[DeadLetter],
    ) -> None:
        """Mark events as applied, or as failed where they have a dead letter; others still wait."""
        failed = {id(dead_letter.message): dead_letter for dead_letter in dead_letters}
        replayed = [event.dlq_id for event in ended if id(event.message) not in failed]
        failed_again, waiting = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        for event in ended:
            dead_letter = failed.get(id(event.message))
            if dead_letter is not None and not is_blocked(dead_letter.error):
                reasons = waiting if waits(dead_letter) else failed_again
                reasons.append((*described(dead_letter.error), event.dlq_id))
        with connection.cursor() as cursor:
            settled = cursor.execute(_REPLAYED, (replayed,)).rowcount
            if waiting:
                cursor.executemany(_STILL_WAITS, waiting)
            if failed_again:
                cursor.executemany(_OPEN, failed_again)
                settled += cursor.rowcount
        if settled != len(replayed) + len(failed_again):  # by a person; read the keys again
            raise RetriableError("deferred events were settled by another process")
