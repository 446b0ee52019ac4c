"""Events that wait for a row that they need, and those of the same key that wait behind them.

What waits is a dead letter with the status PARKED, written in the transaction that moves the
offset past it, so the database alone says what waits: the keys here only save asking it.  They
are read when a partition is claimed and change after a commit, never before.

A retry is one more transaction of the partition's owner: it writes the rows and settles their
letters, or does neither, and finds itself fenced off where another runner has taken over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

from ..chain.route import Batch
from ..errors import EventError, ExpiredError, WaitingError
from ..kafka.message import ROWS, Message
from ..target.applier import Applier
from ..target.offsets import Advance, Claim
from .dead_letter import DeadLetter
from .parked import Parked, ParkedEvent, WaitingKey
from .sealing import Sealer

Prepare: TypeAlias = Callable[[Sequence[Message]], Batch]
"""Decode messages and send them through the chain."""

_KEYS_AT_ONCE = 500
_BEHIND = "waits behind an earlier event of its row"


class Waiting:
    """The keys of one mapping that have events waiting, in the partitions that it has claimed."""

    def __init__(
        self,
        mapping: str,
        *,
        applier: Applier,
        sealer: Sealer,
        retry: timedelta,
        give_up: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._applier = applier
        self._sealer = sealer
        self._parked = Parked(mapping, sealer)
        self._retry = retry.total_seconds()
        self._give_up = give_up
        self._clock = clock
        self._keys: dict[WaitingKey, None] = {}
        """In the order in which they are tried; a set has none."""
        self._fresh: set[WaitingKey] = set()
        """Those that came after `split` was last called."""
        self._due = 0.0

    def load(self, partitions: Collection[int]) -> None:
        """Learn what waits in partitions that were just claimed."""
        found = self._applier.ask(partial(self._parked.keys, partitions))
        others = [key for key in self._keys if key[0] not in partitions]
        self._keys = dict.fromkeys([*others, *found])

    # -- new events ----------------------------------------------------------------------------

    def split(self, messages: Sequence[Message]) -> tuple[Sequence[Message], list[Message]]:
        """Tell the messages that may go on from those that have to wait behind others."""
        self._fresh.clear()  # before the keys are looked at: another thread may be adding some
        if not self._keys:
            return messages, []
        free: list[Message] = []
        held: list[Message] = []
        for message in messages:
            waits = message.value is not None and self._key(message) in self._keys
            (held if waits else free).append(message)
        return free, held

    def hold(self, batch: Batch, held: Sequence[Message] = ()) -> None:
        """Park, with what the batch itself found waiting, all that comes after it.

        Call it once the batch before this one is committed, with what `split` held back.
        """
        since: dict[WaitingKey, int] = {}
        for message in _waiting(batch.letters):
            if (key := self._key(message)) is None:
                continue
            since[key] = min(message.offset, since.get(key, message.offset))
        if not (since or held or self._fresh):
            return
        since |= dict.fromkeys(self._fresh, -1)
        late: dict[int, Message] = {}
        for message in (change.source for change in batch.changes):
            key = self._key(message)
            if key is not None and since.get(key, message.offset) < message.offset:
                late[id(message)] = message
        batch.letters += [
            DeadLetter(message, WaitingError(_BEHIND)) for message in (*held, *late.values())
        ]
        batch.letters.sort(key=lambda letter: (letter.message.partition, letter.message.offset))
        stay = {id(message) for message in _waiting(batch.letters)}
        _keep(batch, lambda message: id(message) not in stay)

    def note(self, letters: Iterable[DeadLetter]) -> int:
        """Heed what was parked by a transaction that is committed; return how many events."""
        waiting = _waiting(letters)
        keys = [key for message in waiting if (key := self._key(message)) is not None]
        self._keys |= dict.fromkeys(keys)
        self._fresh.update(keys)  # after the keys; see `split`
        return len(waiting)

    # -- retries -------------------------------------------------------------------------------

    @property
    def keys(self) -> int:
        return len(self._keys)

    def due(self) -> bool:
        return bool(self._keys) and time.monotonic() >= self._due

    def retry(self, claims: Mapping[int, Claim], prepare: Prepare) -> tuple[Batch, int]:
        """Try the oldest events of some keys again, and next time those of the next keys.

        Returns what was applied, with its dead letters, and how many rows changed.  No batch
        may be on its way that `split` has already seen.
        """
        self._keys = {key: None for key in self._keys if key[0] in claims}
        keys = list(self._keys)[:_KEYS_AT_ONCE]
        oldest = self._clock() - self._give_up
        events = self._applier.ask(partial(self._parked.take, keys, oldest))
        opened = [event.message for event in events if event.fault is None]
        batch, ended = _passed(events, prepare(opened))
        written = 0
        if ended:
            steps = [
                Advance(at, claims[at].epoch, claims[at].next_offset, claims[at].next_offset)
                for at in sorted({event.key[0] for event in ended} - {ROWS})
            ]
            settle = partial(self._parked.settle, ended)
            written = self._applier.apply(batch, steps, record=settle)
        failed = len({id(letter.message) for letter in batch.letters})
        batch.counts = Counter(replayed=len(ended) - failed)
        self._rotate(keys, events, ended)
        self._due = time.monotonic() + (0 if ended else self._retry)
        return batch, written

    def _rotate(
        self,
        keys: Iterable[WaitingKey],
        events: Iterable[ParkedEvent],
        ended: Iterable[ParkedEvent],
    ) -> None:
        """Put the keys that were tried to the end, unless nothing of them waits any more."""
        taken = Counter(event.key for event in events)
        done = Counter(event.key for event in ended)
        for key in keys:
            del self._keys[key]
            if taken[key] > done[key] or taken[key] == self._parked.at_once:
                self._keys[key] = None

    def _key(self, message: Message) -> WaitingKey | None:
        """Whose turn it is to wait; None for a batch's row without a key."""
        if message.key is None and message.partition == ROWS:
            return None
        return message.partition, self._sealer.fingerprint(message.key) or b""


def replay_rows(waiting: Waiting, prepare: Prepare) -> Counter[str]:
    """Try again every row that earlier batch runs parked, until none of them goes on.

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
        tried = min(waiting.keys, _KEYS_AT_ONCE)
        batch, written = waiting.retry({ROWS: Claim(0, None)}, prepare)
        counts.update(batch.counts, written=written, dead=len(batch.letters))
        idle = 0 if batch.counts["replayed"] or batch.letters else idle + tried
    return counts


def _passed(events: Sequence[ParkedEvent], batch: Batch) -> tuple[Batch, list[ParkedEvent]]:
    """What may be applied of parked events that were tried again, and which they are.

    The first of a key that still waits stops that key; one that has waited for too long, or
    fails for another reason, is a dead letter and stops nobody.
    """
    errors = {id(letter.message): letter.error for letter in batch.letters}
    stopped: set[WaitingKey] = set()
    ended: dict[int, ParkedEvent] = {}
    final: dict[int, EventError] = {}
    for event in events:
        me = id(event.message)
        error = event.fault or errors.get(me)
        if isinstance(error, WaitingError):
            if not event.expired:
                stopped.add(event.key)
            error = ExpiredError(f"gave up: {error}", error.column)
        if event.key in stopped:
            continue
        ended[me] = event
        if error is not None:
            final[me] = error
    batch.letters = [DeadLetter(ended[me].message, error) for me, error in final.items()]
    _keep(batch, lambda message: id(message) in ended)
    return batch, list(ended.values())


def _waiting(letters: Iterable[DeadLetter]) -> list[Message]:
    return [letter.message for letter in letters if isinstance(letter.error, WaitingError)]


def _keep(batch: Batch, wanted: Callable[[Message], bool]) -> None:
    """Leave in the batch what these messages came to, and nothing of the others."""
    batch.changes = [change for change in batch.changes if wanted(change.source)]
    batch.defaults = [(message, name) for message, name in batch.defaults if wanted(message)]
