"""Decide when a newer whole row makes older dead letters of its source row obsolete.

After an event that carries the whole row, the target does not depend on earlier events of the row.
So the event does not wait for an earlier one that failed: it is applied at once, and in the same
transaction the older dead letters become SUPERSEDED, so that no replay can overwrite it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from ..errors import AccessError, DecodeError, RetriableError
from ..model.batch import Batch, WaitingKey
from ..model.changes import Change, Write
from ..model.dead_letter import DeadLetter, holds, ordering_key
from ..model.message import ROWS, Message
from ..plugin import Delete, SetColumns, TableMapping
from ..transform.steps import Chain

Connection = psycopg.Connection[Any]

# The index dead_letter_held has the same expressions and the same condition.
PLACE = f"coalesce(partition, {ROWS})"
KEY = (
    "coalesce(event_key_hash, CASE WHEN partition IS NULL THEN int8send(dlq_id) ELSE ''::bytea END)"
)
NEWEST = 2**63 - 1
"""An id above that of every dead letter: supersede all that are stored for the key."""
# `published_attempts` lags behind `attempts`, so that the Kafka topic gets the new status.
_SUPERSEDE = f"""
UPDATE sink.dead_letter d SET status = 'SUPERSEDED', published_attempts = attempts - 1
FROM unnest(%s::int[], %s::bytea[], %s::int8[]) AS k (partition, key, before)
WHERE flow = %s AND {PLACE.replace("partition", "d.partition")} = k.partition
  AND {KEY.replace("partition", "d.partition")} = k.key AND dlq_id < k.before
  AND status IN ('OPEN', 'PARKED')
"""


class Older(NamedTuple):
    """The stored dead letters that an event supersedes: those of a key up to an id."""

    key: WaitingKey
    before: int = NEWEST


@dataclass(slots=True)
class Superseding:
    """The events of one batch that supersede older dead letters once they are applied."""

    identifies_row: Callable[[bytes], bool] = lambda _key: True
    """Whether an event's key identifies one row of the source; see `RowKeys`."""
    rows: dict[int, Older] = field(default_factory=dict)
    """What events supersede of the stored dead letters, by the identity of their messages."""
    settled: Collection[WaitingKey] = ()
    """The keys whose stored dead letters were superseded by the last attempt."""
    stored: int = 0
    """How many dead letters the last attempt superseded."""

    def settle(
        self,
        connection: Connection,
        mapping: str,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
    ) -> list[DeadLetter]:
        """Mark what the applied events supersede, in the caller's transaction.

        Return `dead_letters`, in which those are marked that a later event of the batch supersedes.
        """
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        older = [one for message, one in self.rows.items() if message not in failed]
        self.stored = 0
        if older:
            keys = [one.key for one in older]
            before = [one.before for one in older]
            arrays = [key[0] for key in keys], [key[1] for key in keys], before
            done = connection.execute(_SUPERSEDE.encode(), (*arrays, mapping))
            self.stored = done.rowcount
        self.settled = {one.key for one in older}
        return self._mark(changes, dead_letters, failed) if dead_letters else list(dead_letters)

    def independent(self, changes: Sequence[Change]) -> dict[int, Message]:
        """Return the events that do not wait for earlier ones, by their messages' identity."""
        return {
            identity: message
            for identity, message in whole_rows(changes).items()
            if message.key is not None and self.identifies_row(message.key)
        }

    def _mark(
        self,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
        failed: Collection[int],
    ) -> list[DeadLetter]:
        """Mark the dead letters of the batch that a later event of it supersedes."""
        last: dict[Hashable, int] = {}
        for message in self.independent(changes).values():
            if id(message) not in failed:
                line = ordering_key(message)
                last[line] = max(message.offset, last.get(line, message.offset))
        return [
            dead_letter._replace(
                superseded=dead_letter.message.offset
                < last.get(ordering_key(dead_letter.message), -1)
            )
            for dead_letter in dead_letters
        ]


def whole_rows(changes: Sequence[Change]) -> dict[int, Message]:
    """Return the events whose effect does not depend on earlier events of their row.

    They are the ones that write every column or delete the row, by the identity of their message.
    """
    found: dict[int, Message] = {}
    others = set()
    for change in changes:
        if _replaces_row(change):
            found[id(change.source)] = change.source
        else:
            others.add(id(change.source))
    return {message: source for message, source in found.items() if message not in others}


def _replaces_row(change: Change) -> bool:
    if isinstance(change, Write):
        return not change.partial and not change.keep
    return isinstance(change.action, Delete | SetColumns)


def can_supersede(
    mapping: TableMapping, source_key: Collection[str], *, decides_itself: bool
) -> bool:
    """Return whether newer events of the mapping supersede older dead letters.

    `source_key` are the columns of the source's primary key, which is also the key of its events.
    `decides_itself` says that a plugin resolves conflicts or writes the rows: then the effect of
    an event may depend on anything.
    """
    if decides_itself or not mapping.replaces_rows or not source_key:
        return False
    # An update that changes the target's key removes the key that its predecessor wrote.
    return not mapping.needs_before_image or _is_key_fixed(mapping, source_key)


def _is_key_fixed(mapping: TableMapping, source_key: Collection[str]) -> bool:
    names = mapping.derived.key if mapping.derived else mapping.key
    keyed = [column for column in mapping.columns if column.name in names]
    return all(set(column.sources) <= set(source_key) and not column.lookups for column in keyed)


class RowKeys:
    """Decides whether an event's key identifies one row of the source table.

    Debezium's `message.key.columns` may give several rows one key.  The dead letters of such a key
    are of different rows, so none supersedes another.
    """

    def __init__(
        self, columns_of: Callable[[bytes], Collection[str]], source_key: Collection[str]
    ) -> None:
        """`columns_of` returns the columns of the schema that a key names."""
        self._columns_of = columns_of
        self._source_key = frozenset(source_key)
        self._known: dict[bytes, bool] = {}

    def __call__(self, key: bytes) -> bool:
        header = key[:5]
        if header not in self._known:
            try:
                self._known[header] = self._source_key <= set(self._columns_of(key))
            except DecodeError:
                self._known[header] = False
            except (AccessError, RetriableError):
                return False  # the registry does not answer, and waiting is always safe
        return self._known[header]


def identify_rows(
    mapping: TableMapping,
    chain: Chain,
    source_key: Collection[str],
    columns_of: Callable[[bytes], Collection[str]] | None = None,
) -> Callable[[bytes], bool] | None:
    """Return a function that says whether an event's key identifies one row of the source.

    Returns None if no newer event of the mapping supersedes an older one.  Without `columns_of`,
    which is that of `RowKeys`, every key identifies its row.
    """
    if not can_supersede(mapping, source_key, decides_itself=chain.decides_writes):
        return None
    return RowKeys(columns_of, source_key) if columns_of else lambda _key: True


def defer_dependent(
    batch: Batch,
    held: Collection[WaitingKey],
    key_of: Callable[[Message], WaitingKey | None],
    superseding: Superseding,
) -> list[Message]:
    """Return the events of a batch that have to wait behind an earlier event of their row.

    Those are the events whose effect depends on their predecessors.  The others are noted in
    `superseding`, so that they supersede what is stored for their keys.
    """
    failed = {
        id(dead_letter.message): dead_letter.message
        for dead_letter in batch.dead_letters
        if holds(dead_letter)
    }
    blocked = {*held, *(key_of(message) for message in failed.values())} - {None}
    if not blocked:
        return []
    stopped, whole = set(held), superseding.independent(batch.changes)
    late = []
    for message in _in_order(batch.changes, failed):
        key = key_of(message)
        if key is None or key not in blocked:
            continue
        if id(message) in failed:
            stopped.add(key)
        elif id(message) in whole:
            stopped.discard(key)
            if key in held:
                superseding.rows[id(message)] = Older(key)
        elif key in stopped:
            late.append(message)
    return late


def _in_order(changes: Sequence[Change], failed: Mapping[int, Message]) -> list[Message]:
    messages = {id(change.source): change.source for change in changes} | dict(failed)
    return sorted(messages.values(), key=lambda message: (message.partition, message.offset))
