"""What a batch of events comes to, and in which order it may be written as sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from ..plugin import Action, Delete
from .folding import Fold

Key: TypeAlias = tuple[Any, ...]

READ = -(1 << 63)
"""The sign of a bigint, which is no column's bit in `Write.keep`: the row was read as it stands,
so nobody knows which of its columns its version changed."""


class Write(NamedTuple):
    """A row for the target, mapped and masked."""

    key: Key
    values: tuple[Any, ...]
    """One for each staged column, in their order; ABSENT where it is not known."""
    keep: int
    """Bit i set: leave column i of an existing row alone."""
    partial: bool
    """Some values are ABSENT: the row can be changed but not created."""
    position: int
    source: Any
    """Whatever identifies the event; the writer only hands it back."""
    base: tuple[Any, ...] | None = None
    """The row before the change, where it is known and something is compared with it."""


class Leave(NamedTuple):
    """A key that leaves the target, or is marked there."""

    key: Key
    action: Action
    position: int
    source: Any
    subject: str = ""
    """The source row's key as text, for a person to find it."""


Change: TypeAlias = Write | Leave


@dataclass(slots=True)
class Round:
    """Changes of distinct keys: they may be written together, in any order."""

    writes: dict[Key, Write] = field(default_factory=dict)
    leaves: dict[Key, Leave] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        return key in self.writes or key in self.leaves


def rounds(changes: Iterable[Change], fold: Fold | None) -> list[Round]:
    """Split a batch so that each key occurs once a round and its order is kept.

    Where the outcome is the same, two changes of a key become one instead: one of two whole
    rows, as `fold` says (None: neither stands for both), or a deletion instead of the row
    before it.
    """
    made = [Round()]
    last: dict[Key, int] = {}
    for change in changes:
        at = last.get(change.key)
        if at is None:
            at = 0
        elif _fold(made[at], change, fold):
            continue
        else:
            at += 1
            if at == len(made):
                made.append(Round())
        last[change.key] = at
        if isinstance(change, Write):
            made[at].writes[change.key] = change
        else:
            made[at].leaves[change.key] = change
    return made


def _fold(into: Round, change: Change, fold: Fold | None) -> bool:
    before = into.writes.get(change.key)
    if isinstance(change, Write):
        if fold is None or before is None:
            return False
        if before.partial or before.keep or change.partial or change.keep:
            return False
        if fold(before.values, change.values):
            into.writes[change.key] = change
        return True
    if not isinstance(change.action, Delete):
        return False
    gone = into.leaves.get(change.key)
    if gone is not None and not isinstance(gone.action, Delete):
        return False
    into.writes.pop(change.key, None)
    into.leaves[change.key] = change
    return True
