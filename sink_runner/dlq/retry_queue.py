"""Events that wait, and those of the same key that wait behind them.

What waits is a dead letter with the status PARKED, written in the transaction that moves the
offset past it; what failed is one with the status OPEN, which a person decides on, and holds up
its key just so.  The database alone says what waits: the keys here only save asking it.  They are
read when a partition is claimed, and again every so often, for `sink-runner dlq` only changes a
letter's status; otherwise they change after a commit, never before.

A retry is one more transaction of the partition's owner: it writes the rows and settles their
dead letters, or does neither, and finds itself fenced off where another runner has taken over.
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
from ..writer.committer import Applier
from ..writer.encryption import Encryptor
from . import superseding as rules
from .deferred_events import Connection, Counts, DeferredEvent, DeferredEvents, Taken
from .selection import Selection, expire_refused, keep, select_in_order, select_newest

Prepare: TypeAlias = Callable[[Sequence[Message]], Batch]
"""Decode messages and send them through the chain."""
Told: TypeAlias = Callable[[Counts], None]
"""Told how many dead letters there are."""

_KEYS_AT_ONCE = 500
_SECOND = 1.0
"""More often the keys are not read again ..."""
_IDLE = 15
"""... so many times less often while nothing is held ..."""
_COST = 20
"""... and with so many times the time in between that it took."""
_GRACE = timedelta(minutes=10)
"""So long an event is tried by this very process before it is given up, however old it is: what
it waits for may come with what piled up while nobody ran, or a person decides on what is before it
only now."""


class Waiting:
    """The keys of one mapping that others wait behind, in the partitions that it has claimed."""

    def __init__(
        self,
        mapping: str,
        *,
        applier: Applier,
        encryptor: Encryptor,
        retry: timedelta,
        give_up: timedelta,
        clock: Callable[[], datetime],
        told: Told = lambda _: None,
        most_bytes: int = DEFAULT_BYTES,
        identifies_row: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`identifies_row` tells whether an event's key identifies one row of the source.

        It is given where newer whole rows supersede older dead letters of their row, and only
        there; None makes every event wait behind the older ones of its key.
        """
        self._applier = applier
        self._encryptor = encryptor
        self._log = structlog.get_logger().bind(mapping=mapping)
        self._identifies_row = identifies_row
        self._deferred = DeferredEvents(mapping, encryptor, most_bytes)
        self._retry = retry.total_seconds()
        self._give_up = give_up
        self._clock = clock
        self._told = told
        self._held: set[WaitingKey] = set()
        """All of them; about 200 bytes each."""
        self._line: dict[WaitingKey, None] = {}
        """Those that may be tried again, in the order in which they are; a set has none."""
        self._places: set[int] = set()
        """The partitions of what is held."""
        self._contending: list[WaitingKey] = []
        """Those that wait for other rows' values; of other runners' partitions, too."""
        self._fresh: set[WaitingKey] = set()
        """Those that came after `split` was last called."""
        self._tried: dict[int, datetime] = {}
        """Since when the first of each line is tried, by its dead letter."""
        self._due = 0.0
        self._stale = float("inf")
        """When to read the keys again."""
        self.tried = 0
        """How many keys the last retry looked at."""

    def load(self, partitions: Collection[int]) -> None:
        """Learn what waits in these partitions; no batch of theirs may be on its way."""
        started = time.monotonic()
        found, self._contending, counts = self._applier.ask(partial(self._ask, partitions))
        self._held = {key for key in self._held if key[0] not in partitions} | found.keys()
        # Those that have waited for their turn keep it.
        stay = [key for key in self._line if key[0] not in partitions or found.get(key)]
        self._line = dict.fromkeys([*stay, *(key for key, ready in found.items() if ready)])
        self._places = {key[0] for key in self._held}
        self._told(counts)
        took = time.monotonic() - started
        often = max(self._retry, _SECOND) * (1 if self._held else _IDLE)
        self._stale = started + took + max(often, _COST * took)

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
        """Tell the messages that may go on from those that have to wait behind others."""
        self._fresh.clear()  # before the keys are looked at: another thread may be adding some
        if not self._held or self._supersedes:  # what an event holds says whether it has to wait
            return messages, []
        free: list[Message] = []
        held: list[Message] = []
        for message in messages:
            stays = self._key(message) in self._held
            (held if stays else free).append(message)
        return free, held

    def hold(self, batch: Batch, held: Sequence[Message] = ()) -> None:
        """Defer, with what the batch itself found at fault or waiting, all that comes after it.

        Call it once the batch before this one is committed, with what `split` held back.
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
        """Have these messages wait, and leave nothing else of them in the batch."""
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

    def note(
        self, dead_letters: Iterable[DeadLetter], superseding: Superseding | None = None
    ) -> int:
        """Heed the dead letters of a transaction that is committed; return how many are deferred.

        `superseding` is the batch's: what it superseded holds up nothing any more.
        """
        deferred = 0
        for settled in superseding.settled if superseding else ():
            self._held.discard(settled)
            self._line.pop(settled, None)
        for dead_letter in dead_letters:
            deferred += waits(dead_letter)
            if holds(dead_letter) and (key := self._key(dead_letter.message)) is not None:
                if waits(dead_letter) and (self._supersedes or key not in self._held):
                    self._line[key] = None
                self._held.add(key)
                self._places.add(key[0])
                self._fresh.add(key)  # after the keys; see `split`
        return deferred

    # -- retries -------------------------------------------------------------------------------

    @property
    def keys(self) -> int:
        """How many may be tried again."""
        return len(self._line)

    @property
    def held(self) -> int:
        """How many others wait behind."""
        return len(self._held)

    def due(self) -> bool:
        now = time.monotonic()
        return now >= self._stale or (bool(self._line) and now >= self._due)

    def retry(self, claims: Mapping[int, Claim], prepare: Prepare) -> tuple[Batch, int]:
        """Try the oldest events of some keys again, and next time those of the next keys.

        Returns what was applied, with its dead letters, and how many rows changed.  No batch
        may be on its way that `split` has already seen.
        """
        self._drop(self._places - claims.keys())
        if time.monotonic() >= self._stale:
            self.load(list(claims))
        keys = list(islice(self._line, _KEYS_AT_ONCE))
        if not self._line.keys().isdisjoint(self._contending):
            keys = list(dict.fromkeys([*keys, *self._contending]))
        oldest = self._clock() - self._give_up
        taken = self._applier.ask(self._take(keys, oldest))
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
            written = self._applier.apply(batch, steps, record=settle)
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
        batch.last_ms = None  # how long these have waited is not how far behind we are
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
        """Only what has been the first of its line for a while may be given up, by its owner."""
        now, first = self._clock(), dict[tuple[WaitingKey, int], int]()
        for event in events:
            # Where events do not wait for each other, each has its own time.
            first.setdefault((event.key, self._supersedes and event.dlq_id), event.dlq_id)
        for dlq_id in first.values():
            self._tried.setdefault(dlq_id, now)
        enough = min(self._give_up, _GRACE)
        return [
            event._replace(
                expired=event.expired
                and event.key[0] in claims
                and now - self._tried.get(event.dlq_id, now) >= enough
            )
            for event in events
        ]

    def _drop(self, partitions: Collection[int]) -> None:
        """Forget what waits in partitions that somebody else has now."""
        if partitions:
            self._held = {key for key in self._held if key[0] not in partitions}
            self._line = {key: None for key in self._line if key[0] not in partitions}
            self._places.difference_update(partitions)

    def _rotate(self, tried: _Tried) -> None:
        """Put the keys that were tried to the end, unless a person has to decide first or nothing
        of them waits any more."""
        taken = tried.taken
        left = Counter(event.key for event in taken.events)
        left -= Counter(event.key for event in tried.done)
        for key in taken.reached:
            if key not in self._line:
                continue  # another runner's, or one that came before a dead letter
            del self._line[key]
            stopped = key in taken.blocked  # perhaps by a newer one; `load` will tell
            if not self._supersedes and (key in tried.failed or (stopped and not left[key])):
                continue
            if left[key] or key in taken.cut:
                self._line[key] = None
            elif not (stopped or key in tried.failed):
                self._held.discard(key)

    def _key(self, message: Message) -> WaitingKey | None:
        """Whose turn it is to wait; None for a batch's row without a key."""
        if message.key is None and message.partition == ROWS:
            return None
        return message.partition, self._encryptor.fingerprint(message.key) or b""


class _Tried(NamedTuple):
    """What came of one try."""

    taken: Taken
    done: Sequence[DeferredEvent]
    failed: Collection[WaitingKey]


def replay_rows(waiting: Waiting, prepare: Prepare) -> Counter[str]:
    """Try again every row that earlier batch runs deferred, until none of them goes on.

    For a batch run, the only one of its mapping.  What it reads is a `Message` of partition
    ROWS whose offset rises from row to row and whose value, from ``b"\\x01"`` on, `prepare` can
    decode.  A row goes the way of an event: `split` before the chain, `hold` after it, `note`
    after the commit.  Call this before the first row is read, so that older reads of a row come
    first, and after the last.
    """
    waiting.load({ROWS})
    counts: Counter[str] = Counter()
    idle = 0
    while idle < waiting.keys:
        batch, written = waiting.retry({ROWS: Claim(0, None)}, prepare)
        counts.update(batch.counts, written=written, dead=len(batch.dead_letters))
        idle = 0 if batch.counts["replayed"] or batch.dead_letters else idle + waiting.tried
    return counts


def _failed(events: Iterable[DeferredEvent], dead_letters: Iterable[DeadLetter]) -> set[WaitingKey]:
    """The keys that an event holds up now that has just failed."""
    failed = {id(dead_letter.message) for dead_letter in dead_letters if holds(dead_letter)}
    return {event.key for event in events if id(event.message) in failed}


def _messages(batch: Batch) -> Iterator[Message]:
    yield from (change.source for change in batch.changes)
    yield from (dead_letter.message for dead_letter in batch.dead_letters if holds(dead_letter))
