"""A row that seems to differ: a change of it may not be applied yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..model.changes import Change


class Kind(StrEnum):
    """How source and target differ."""

    MISSING = "missing"
    """The target lacks a row that the source produces."""
    EXTRA = "extra"
    """The target has a row that the source does not produce."""
    DIFFERENT = "different"
    NEWER = "newer"
    """The target has a later version, which stays by the mapping's conflict rule."""
    REFUSED = "refused"
    """The target's types refuse a value of the row."""


@dataclass(slots=True, kw_only=True)
class Suspect:
    """One row, as it was when it was read."""

    kind: Kind
    key: tuple[Any, ...]
    """The target's key."""
    columns: tuple[str, ...] = ()
    """The names of the target's columns that differ."""
    change: Change | None = None
    """What the source row results in; None where only the target has the key."""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(map(str, self.key))

    @property
    def size(self) -> int:
        """Roughly its size in memory, in bytes."""
        if self.change is None:
            return sum(map(len, self.texts))
        message = self.change.source
        return 2 * (len(message.key or b"") + len(message.value or b""))


def same_outcome(one: Change | None, other: Change | None) -> bool:
    """Whether two readings of a source row result in the same row of the target, or in none."""
    if one is None or other is None:
        return one is other
    return (
        type(one) is type(other)
        and one.key == other.key
        and getattr(one, "values", None) == getattr(other, "values", None)
    )


def total_size(suspects: Sequence[Suspect]) -> int:
    return sum(suspect.size for suspect in suspects)
