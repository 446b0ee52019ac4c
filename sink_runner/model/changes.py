"""What a batch of events comes to, and in which order it may be written as sets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from ..plugin import Action, Delete, Review

Fold: TypeAlias = Callable[[tuple[Any, ...], tuple[Any, ...]], bool]
"""Of two whole rows of a key, does the second replace the first?  If not, it changes nothing."""

Key: TypeAlias = tuple[Any, ...]
Position: TypeAlias = tuple[int, int]
"""Where a change stands in the source's log: its LSN, or the last commit before its transaction if
that is later, and its number within the transaction.  Both follow the order of the commits.

The changes of a multi-row statement, and both halves of a change of the primary key, share an LSN.
"""

BATCH_ORDINAL = -1
"""The number in the position of a batch run's row or removal: every change at its LSN is later."""

KEEP_BITS = 63
"""So many columns one bigint of the staging table tells of."""
READ = -(1 << 2048)
"""The sign of `Write.keep`, beyond the bit of any column (PostgreSQL allows 1,600): the row was
read as it stands, so nothing tells which of its columns its version changed."""


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
    """One for each staged column, in their order; ABSENT where it is not known."""
    keep: int
    """Bit i set: leave column i of an existing row alone."""
    partial: bool
    """Some values are ABSENT: the row can be changed but not created."""
    position: Position | None
    """None for an event that has no place in the log (an API callback, a row of an incremental
    snapshot): its version orders it, else its arrival in its partition."""
    source: Any
    """Whatever identifies the event; the writer only hands it back."""
    base: tuple[Any, ...] | None = None
    """The row before the change, where it is known and something is compared with it."""
    owner: str | None = None
    """The source row's key, where the target's key may pass from one source row to another."""


class Removal(NamedTuple):
    """A key that leaves the target, or is marked there."""

    key: Key
    action: Action
    position: Position | None
    source: Any
    subject: str = ""
    """The source row's key as text, for a person to find it."""
    owner: str | None = None
    """As in `Write`."""


Change: TypeAlias = Write | Removal


@dataclass(slots=True)
class Round:
    """Changes of distinct keys: they may be written together, in any order."""

    writes: dict[Key, Write] = field(default_factory=dict)
    leaves: dict[Key, Removal] = field(default_factory=dict)
    outdated: int = 0
    """How many rows are left out, since an earlier one of their key has to stay."""

    def __contains__(self, key: Key) -> bool:
        return key in self.writes or key in self.leaves


def ordered(leaves: Iterable[Removal]) -> list[Removal]:
    """Return those that a newer change of their key makes stale.

    A Review only records that a source row is gone, whichever row holds the key since.
    """
    return [leave for leave in leaves if not isinstance(leave.action, Review)]


def rounds(
    changes: Iterable[Change],
    fold: Fold | None,
    *,
    versioned: bool = False,
    same: Sequence[Hashable] | None = None,
) -> list[Round]:
    """Split a batch so that each key occurs once a round and its order is kept.

    `same` tells by equal values which changes have keys that the database finds equal, where
    Python may tell them apart.

    Where the outcome is the same, two changes of a key become one instead: one of two whole
    rows, as `fold` says (None: neither stands for both), or a deletion instead of the row
    before it, unless its tombstone has to know the row's version (`versioned`).
    """
    made = [Round()]
    last: dict[Hashable, int] = {}
    for number, change in enumerate(changes):
        key = change.key if same is None else same[number]
        at = last.get(key)
        if at is None:
            at = 0
        elif _fold(made[at], change, fold, versioned=versioned):
            continue
        else:
            at += 1
            if at == len(made):
                made.append(Round())
        last[key] = at
        if isinstance(change, Write):
            made[at].writes[change.key] = change
        else:
            made[at].leaves[change.key] = change
    return made


def is_older(change: Change, other: Change) -> bool:
    """Tell whether the log has `change` before `other`; False where either has no position."""
    if change.position is None or other.position is None:
        return False
    return change.position < other.position


def _is_whole(change: Change) -> TypeGuard[Write]:
    return isinstance(change, Write) and not (change.partial or change.keep)


def _deletes(change: Change) -> TypeGuard[Removal]:
    return isinstance(change, Removal) and isinstance(change.action, Delete)


def _fold(into: Round, change: Change, fold: Fold | None, *, versioned: bool) -> bool:
    before = into.writes.get(change.key) or into.leaves.get(change.key)
    if before is None or before.owner != change.owner or is_older(change, before):
        return False
    if change.position is None and before.position is not None:
        return False  # older changes are told by the position of the one before
    if isinstance(change, Write):
        if fold is None or not (_is_whole(before) and _is_whole(change)):
            return False
        if fold(before.values, change.values):
            into.writes[change.key] = change
        else:
            into.outdated += 1
        return True
    replaced = _deletes(before) or (isinstance(before, Write) and not versioned)
    if not (_deletes(change) and replaced):
        return False
    into.writes.pop(change.key, None)
    into.leaves[change.key] = change
    return True
