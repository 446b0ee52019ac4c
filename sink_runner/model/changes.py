"""The changes that a batch of events makes in the target, and in which order they are written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from ..plugin import Action, Delete, Review

Fold: TypeAlias = Callable[[tuple[Any, ...], tuple[Any, ...]], bool]
"""Returns whether the second of two whole rows of a key replaces the first; if not, it changes
nothing."""

Key: TypeAlias = tuple[Any, ...]
Position: TypeAlias = tuple[int, int]
"""The position of a change in the source's log: an LSN and an ordinal.

The LSN is the change's own, or that of the last commit before its transaction if that is later.
The ordinal is the change's number within its transaction, which orders the changes of a
multi-row statement and both halves of a primary-key change, as these share an LSN.  Positions
are in the order of the commits.
"""

BATCH_ORDINAL = -1
"""The ordinal of a batch run's rows and removals: every change at their LSN is later."""

KEEP_BITS = 63
"""The number of columns whose bits fit into one bigint of the staging table."""
READ = -(1 << 2048)
"""A flag in `Write.keep`: the row was read from the table, not from an event.

So it is not known which columns its version has changed.  The flag is the sign, beyond the bit of
any column (PostgreSQL allows 1,600 columns).
"""


def keep_words(keep: int, count: int) -> list[int]:
    """Split `Write.keep` into `count` bigints; the sign goes with the first."""
    words = [keep >> KEEP_BITS * at & (1 << KEEP_BITS) - 1 for at in range(count)]
    if keep < 0:
        words[0] -= 1 << KEEP_BITS
    return words


class Write(NamedTuple):
    """A row for the target, mapped and masked."""

    key: Key
    values: tuple[Any, ...]
    """One for each staged column, in their order; ABSENT where the value is not known."""
    keep: int
    """Bit i set: do not change column i of an existing row."""
    partial: bool
    """Some values are ABSENT: the row can be changed but not created."""
    position: Position | None
    """None for an event without a position in the log: an API callback or a row of an incremental
    snapshot.  Its version orders it, or else its arrival in its partition."""
    source: Any
    """The event's message; the changes of one event have the same one."""
    base: tuple[Any, ...] | None = None
    """The before image, mapped, where the writer compares it with the target's row."""
    owner: str | None = None
    """The source row's key, where a target key may pass from one source row to another."""


class Removal(NamedTuple):
    """A key to remove from the target, by one of the actions of a mapping."""

    key: Key
    action: Action
    position: Position | None
    source: Any
    subject: str = ""
    """The source row's key as text, by which a person finds the row."""
    owner: str | None = None
    """As in `Write`."""
    moved: bool = False
    """Whether its event also writes the row, under another key: that change has the outcome."""


Change: TypeAlias = Write | Removal


@dataclass(slots=True)
class Wave:
    """Changes of distinct keys, which can be written together and in any order."""

    writes: dict[Key, Write] = field(default_factory=dict)
    removals: dict[Key, Removal] = field(default_factory=dict)
    outdated: int = 0
    """How many rows were left out because an earlier one of their key stays."""
    superseded: int = 0
    """How many events were left out because a later one of their key replaces them."""

    def __contains__(self, key: Key) -> bool:
        return key in self.writes or key in self.removals


def count_events(changes: Iterable[Change]) -> int:
    """Return how many events have one of these changes as their outcome."""
    return sum(not (isinstance(change, Removal) and change.moved) for change in changes)


def without_reviews(removals: Iterable[Removal]) -> list[Removal]:
    """Return the removals that a newer change of their key makes stale: all but reviews.

    A Review only records that a source row was deleted, even if another row has the key now.
    """
    return [removal for removal in removals if not isinstance(removal.action, Review)]


def split_waves(
    changes: Iterable[Change],
    fold: Fold | None,
    *,
    versioned: bool = False,
    numbers: Sequence[Hashable] | None = None,
) -> list[Wave]:
    """Split a batch into waves that keep the order of each key's changes.

    `numbers` has a number for each change.  Keys that are equal in the database, even if not in
    Python, have the same number.

    Two changes of a key become one if that leaves the same result.  Of two whole rows, `fold`
    selects one (None: both stay).  A deletion replaces the row before it, unless its tombstone
    needs that row's version (`versioned`).
    """
    waves = [Wave()]
    last: dict[Hashable, int] = {}
    for number, change in enumerate(changes):
        key = change.key if numbers is None else numbers[number]
        at = last.get(key)
        if at is None:
            at = 0
        elif _fold(waves[at], change, fold, versioned=versioned):
            continue
        else:
            at += 1
            if at == len(waves):
                waves.append(Wave())
        last[key] = at
        if isinstance(change, Write):
            waves[at].writes[change.key] = change
        else:
            waves[at].removals[change.key] = change
    return waves


def is_older(change: Change, other: Change) -> bool:
    """Return whether the log has `change` before `other`; False if either has no position."""
    if change.position is None or other.position is None:
        return False
    return change.position < other.position


def _is_whole(change: Change) -> TypeGuard[Write]:
    return isinstance(change, Write) and not (change.partial or change.keep)


def _is_deletion(change: Change) -> TypeGuard[Removal]:
    return isinstance(change, Removal) and isinstance(change.action, Delete)


def _fold(into: Wave, change: Change, fold: Fold | None, *, versioned: bool) -> bool:
    before = into.writes.get(change.key) or into.removals.get(change.key)
    if before is None or before.owner != change.owner or is_older(change, before):
        return False
    if change.position is None and before.position is not None:
        return False  # the target stores the position of `before`
    if isinstance(change, Write):
        if fold is None or not (_is_whole(before) and _is_whole(change)):
            return False
        if fold(before.values, change.values):
            into.writes[change.key] = change
            into.superseded += 1
        else:
            into.outdated += 1
        return True
    replaceable = _is_deletion(before) or (isinstance(before, Write) and not versioned)
    if not (_is_deletion(change) and replaceable):
        return False
    into.writes.pop(change.key, None)
    into.removals[change.key] = change
    into.superseded += count_events([before])
    return True
