"""Retry deferred events, and defer later events of the same key to keep their order.

A deferred event is a dead letter with the status PARKED, written in the transaction that moves the
offset past it.  A failed one has the status OPEN, waits for a person, and blocks its key as well.
The database is authoritative; the keys here are a cache of it.  They are read when a partition is
claimed, and again at intervals, since `sink-runner dlq` only changes a status in the database;
otherwise they change only after a commit.

A retry is a transaction of the partition's owner, fenced like any other: it writes the rows and
settles their dead letters, or does neither.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

import structlog

from ..model.batch import Batch, Superseding, WaitingKey
from ..model.dead_letter import DeadLetter, blocked_error, holds, waits
from ..model.message import ROWS, Message
from ..model.partition import Advance, Claim
from ..model.portions import DEFAULT_BYTES
from ..writer.committer import Committer
from ..writer.encryption import Encryptor
from . import superseding as rules
from .deferred_events import Connection, Counts, DeferredEvent, DeferredEvents, Taken
from .selection import Selection, expire_refused, keep, select_in_order, select_newest

Prepare: TypeAlias = Callable[[Sequence[Message]], Batch]
"""Decode and transform messages."""
ReportCounts: TypeAlias = Callable[[Counts], None]
"""Called with the numbers of dead letters."""

_KEYS_AT_ONCE = 500
_RELOAD_SECONDS = 1.0
"""The shortest interval between two reads of the keys."""
_IDLE_FACTOR = 15
"""Multiplies the interval while no key is blocked."""
_COST_FACTOR = 20
"""The interval is at least this many times the duration of the last read."""
_GRACE = timedelta(minutes=10)
"""How long this process retries even an old event before it gives up: the row that it needs may be
in the backlog of a stopped runner, or a person may only now have decided about an event before
it."""


class RetryQueue:
    """The blocked keys of one mapping, in the partitions that it has claimed."""

    def __init__(
        self,
        mapping: str,
        *,
        committer: Committer,
        encryptor: Encryptor,
        retry: timedelta,
        give_up: timedelta,
        clock: Callable[[], datetime],
        report_counts: ReportCounts = lambda _: None,
        most_bytes: int = DEFAULT_BYTES,
        identifies_row: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`identifies_row` returns whether an event's key identifies one row of the source.

        If it is None, newer whole rows do not supersede older dead letters of their row, and every
        event waits for the older ones of its key.
        """
        self._committer = committer
        self._encryptor = encryptor
        self._log = structlog.get_logger().bind(mapping=mapping)
        self._identifies_row = identifies_row
        self._deferred = DeferredEvents(mapping, encryptor, most_bytes)
        self._retry = retry.total_seconds()
        self._give_up = give_up
        self._clock = clock
        self._report_counts = report_counts
        self._held: set[WaitingKey] = set()
        """The blocked keys; about 200 bytes each."""
        self._retriable: dict[WaitingKey, None] = {}
        """Keys to retry, in their order; a dict, since a set has no order."""
        self._places: set[int] = set()
        """The partitions of the blocked keys."""
        self._contending: list[WaitingKey] = []
        """Keys that wait for unique values of other rows, also in partitions of other runners."""
        self._fresh: set[WaitingKey] = set()
        """Keys that were blocked after the last call of `split`."""
        self._tried: dict[int, datetime] = {}
        """When the first event of each key was first tried, by its dlq_id."""
        self._due = 0.0
        self._stale = float("inf")
        """When to read the keys again."""
        self.tried = 0
        """How many keys the last retry examined."""

    def load(self, partitions: Collection[int]) -> None:
        """Read the blocked keys of these partitions, of which no batch may be in flight."""
        started = time.monotonic()
        found, self._contending, counts = self._committer.ask(partial(self._ask, partitions))
        self._held = {key for key in self._held if key[0] not in partitions} | found.keys()
        # Keys that were already queued keep their turn.
        stay = [key for key in self._retriable if key[0] not in partitions or found.get(key)]
        self._retriable = dict.fromkeys([*stay, *(key for key, ready in found.items() if ready)])
        self._places = {key[0] for key in self._held}
        self._report_counts(counts)
        took = time.monotonic() - started
        interval = max(self._retry, _RELOAD_SECONDS) * (1 if self._held else _IDLE_FACTOR)
        self._stale = started + took + max(interval, _COST_FACTOR * took)

    def _ask(
        self, partitions: Collection[int], connection: Connection
    ) -> tuple[dict[WaitingKey, bool], list[WaitingKey], Counts]:
        keys = self._deferred.keys(partitions, connection, supersedes=self._supersedes)
        contending = self._deferred.contending(
            connection, rows=ROWS in partitions, most=_KEYS_AT_ONCE
        )
        return keys, contending, self._deferred.counts(connection)

    @property
    def _supersedes(self) -> bool:
        return self._identifies_row is not None

    # -- new events ----------------------------------------------------------------------------

    def split(self, messages: Sequence[Message]) -> tuple[Sequence[Message], list[Message]]:
        """Divide messages into those to apply now and those to defer."""
        self._fresh.clear()  # before the keys are read: another thread may be adding some
        if not self._held or self._supersedes:  # `hold` decides by what the event holds
            return messages, []
        free: list[Message] = []
        held: list[Message] = []
        for message in messages:
            stays = self._key(message) in self._held
            (held if stays else free).append(message)
        return free, held

    def hold(self, batch: Batch, held: Sequence[Message] = ()) -> None:
        """Defer events that follow a deferred or failed event of their key.

        Call it after the commit of the previous batch, with the messages that `split` held back.
        """
        if self._identifies_row:
            batch.superseding = made = rules.Superseding(self._identifies_row)
            late = rules.defer_dependent(batch, self._held, self._key, made)
            self._defer(batch, {id(message): message for message in late})
            return
        since: dict[WaitingKey, int] = {}
        for message in (
            dead_letter.message for dead_letter in batch.dead_letters if holds(dead_letter)
        ):
            if (key := self._key(message)) is not None:
                since[key] = min(message.offset, since.get(key, message.offset))
        if not (since or held or self._fresh):
            return
        since |= dict.fromkeys(self._fresh, -1)
        waiting: dict[int, Message] = {id(message): message for message in held}
        for message in _messages(batch):
            key = self._key(message)
            if key is not None and since.get(key, message.offset) < message.offset:
                waiting[id(message)] = message
        self._defer(batch, waiting)

    @staticmethod
    def _defer(batch: Batch, late: Mapping[int, Message]) -> None:
        """Make these messages deferred dead letters, and remove their changes from the batch."""
        if not late:
            return
        first = [
            dead_letter for dead_letter in batch.dead_letters if id(dead_letter.message) not in late
        ]
        batch.dead_letters = first + [
            DeadLetter(message, blocked_error()) for message in late.values()
        ]
        stay = {id(dead_letter.message) for dead_letter in batch.dead_letters}
        keep(batch, lambda message: id(message) not in stay)

    def record_committed(
        self, dead_letters: Iterable[DeadLetter], superseding: Superseding | None = None
    ) -> int:
        """Block the keys of a committed batch's dead letters; return how many are deferred.

        `superseding` is the batch's: the keys that it superseded are no longer blocked.
        """
        deferred = 0
        for settled in superseding.settled if superseding else ():
            self._held.discard(settled)
            self._retriable.pop(settled, None)
        for dead_letter in dead_letters:
            deferred += waits(dead_letter)
            if holds(dead_letter) and (key := self._key(dead_letter.message)) is not None:
                if waits(dead_letter) and (self._supersedes or key not in self._held):
                    self._retriable[key] = None
                self._held.add(key)
                self._places.add(key[0])
                self._fresh.add(key)  # after the keys; see `split`
        return deferred

    # -- retries -------------------------------------------------------------------------------

    @property
    def keys(self) -> int:
        """How many keys may be retried."""
        return len(self._retriable)

    @property
    def held(self) -> int:
        """How many keys are blocked."""
        return len(self._held)

    def due(self) -> bool:
        now = time.monotonic()
        return now >= self._stale or (bool(self._retriable) and now >= self._due)

    def retry(self, claims: Mapping[int, Claim], prepare: Prepare) -> tuple[Batch, int]:
        """Retry the oldest events of some keys; the next call continues with the next keys.

        Returns the batch that was applied, with its dead letters, and how many rows changed.  No
        batch that `split` has seen may be in flight.
        """
        self._drop(self._places - claims.keys())
        if time.monotonic() >= self._stale:
            self.load(list(claims))
        keys = list(islice(self._retriable, _KEYS_AT_ONCE))
        if not self._retriable.keys().isdisjoint(self._contending):
            keys = list(dict.fromkeys([*keys, *self._contending]))
        oldest = self._clock() - self._give_up
        taken = self._committer.ask(self._take(keys, oldest))
        self.tried = len(taken.reached)
        events = self._with_grace(taken.events, claims)
        batch = prepare([event.message for event in events if event.fault is None])
        ended, obsolete = self._select(events, batch)
        written = 0
        if ended:
            partitions = {event.key[0] for event in ended} - {ROWS}
            steps = [
                Advance(at, epoch, next_offset, next_offset, leader_epoch)
                for at, (epoch, next_offset, leader_epoch) in sorted(claims.items())
                if at in partitions
            ]
            settle = partial(self._settle, ended)
            written = self._committer.apply(batch, steps, record=settle)
        settled = batch.superseding.settled if batch.superseding else ()
        gone = [event for event in obsolete if event.key in settled]
        still = {
            id(dead_letter.message) for dead_letter in batch.dead_letters if waits(dead_letter)
        }
        batch.dead_letters = [
            dead_letter for dead_letter in batch.dead_letters if not waits(dead_letter)
        ]
        done = [event for event in ended if id(event.message) not in still]
        for event in (*done, *gone):
            self._tried.pop(event.dlq_id, None)
        batch.counts = Counter(replayed=len(done) - len(batch.dead_letters))
        self._rotate(_Tried(taken, [*done, *gone], _failed(done, batch.dead_letters)))
        self._due = time.monotonic() + (0 if done else self._retry)
        return batch, written

    def _take(self, keys: Sequence[WaitingKey], oldest: datetime) -> Callable[[Connection], Taken]:
        return partial(self._deferred.take, keys, oldest, supersedes=self._supersedes)

    def _settle(
        self, ended: Sequence[DeferredEvent], connection: Connection, dead_letters: list[DeadLetter]
    ) -> None:
        expire_refused(ended, dead_letters)
        self._deferred.settle(ended, connection, dead_letters)

    def _select(self, events: Sequence[DeferredEvent], batch: Batch) -> Selection:
        if self._identifies_row is None:
            return select_in_order(events, batch)
        batch.superseding = made = rules.Superseding(self._identifies_row)
        return select_newest(events, batch, made)

    def _with_grace(
        self, events: Sequence[DeferredEvent], claims: Collection[int]
    ) -> list[DeferredEvent]:
        """Let only the partition's owner expire an event, after retrying it for `_GRACE`."""
        now, first = self._clock(), dict[tuple[WaitingKey, int], int]()
        for event in events:
            # If events do not wait for each other, each has its own deadline.
            first.setdefault((event.key, self._supersedes and event.dlq_id), event.dlq_id)
        for dlq_id in first.values():
            self._tried.setdefault(dlq_id, now)
        grace = min(self._give_up, _GRACE)
        return [
            event._replace(
                expired=event.expired
                and event.key[0] in claims
                and now - self._tried.get(event.dlq_id, now) >= grace
            )
            for event in events
        ]

    def _drop(self, partitions: Collection[int]) -> None:
        """Forget the keys of partitions that the group took away."""
        if partitions:
            self._held = {key for key in self._held if key[0] not in partitions}
            self._retriable = {key: None for key in self._retriable if key[0] not in partitions}
            self._places.difference_update(partitions)

    def _rotate(self, tried: _Tried) -> None:
        """Move the tried keys to the end; remove those without any event left to retry."""
        taken = tried.taken
        left = Counter(event.key for event in taken.events)
        left -= Counter(event.key for event in tried.done)
        for key in taken.reached:
            if key not in self._retriable:
                continue  # a key of another runner, or one that was queued before a dead letter
            del self._retriable[key]
            stopped = key in taken.blocked  # perhaps by a newer event; `load` decides
            if not self._supersedes and (key in tried.failed or (stopped and not left[key])):
                continue
            if left[key] or key in taken.cut:
                self._retriable[key] = None
            elif not (stopped or key in tried.failed):
                self._held.discard(key)

    def _key(self, message: Message) -> WaitingKey | None:
        """Return the key that orders the message; None for a batch's row without a key."""
        if message.key is None and message.partition == ROWS:
            return None
        return message.partition, self._encryptor.fingerprint(message.key) or b""


class _Tried(NamedTuple):
    """The result of one retry."""

    taken: Taken
    done: Sequence[DeferredEvent]
    failed: Collection[WaitingKey]


def replay_rows(queue: RetryQueue, prepare: Prepare) -> Counter[str]:
    """Retry every row that earlier batch runs deferred, until no further one can be applied.

    For a batch run, the only one of its mapping.  What it reads is a `Message` of partition
    ROWS whose offset rises from row to row and whose value, from ``b"\\x01"`` on, `prepare` can
    decode.  A row is handled as an event is: `split` before the transform, `hold` after it,
    `record_committed` after the commit.  Call this before the first row is read, so that older
    reads of a row come first, and after the last.
    """
    queue.load({ROWS})
    counts: Counter[str] = Counter()
    idle = 0
    while idle < queue.keys:
        batch, written = queue.retry({ROWS: Claim(0, None)}, prepare)
        counts.update(batch.counts, written=written, dead=len(batch.dead_letters))
        idle = 0 if batch.counts["replayed"] or batch.dead_letters else idle + queue.tried
    return counts


def _failed(events: Iterable[DeferredEvent], dead_letters: Iterable[DeadLetter]) -> set[WaitingKey]:
    """Return the keys of the events that have failed."""
    failed = {id(dead_letter.message) for dead_letter in dead_letters if holds(dead_letter)}
    return {event.key for event in events if id(event.message) in failed}


def _messages(batch: Batch) -> Iterator[Message]:
    yield from (change.source for change in batch.changes)
    yield from (dead_letter.message for dead_letter in batch.dead_letters if holds(dead_letter))
