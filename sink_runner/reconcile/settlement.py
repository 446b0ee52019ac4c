"""Separate differences from changes that are not applied yet.

A suspect was read before a marker in the source's log. It is a difference if both hold after the
mapping has applied the log up to the marker: the target still differs, and the source row, read
again, still results in the same. Then the row has not changed since before the marker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..batch.deletions import Deletions
from ..model.changes import Change, Removal, Write
from ..model.message import Message
from ..plugin import SetColumns, TableMapping
from .comparison import Comparison
from .log_marker import Marker
from .suspect import Kind, Suspect, same_outcome

_MAX_ROUNDS = 3
_CHANGING = "their source rows change faster than they could be compared; run it again"


@dataclass(slots=True)
class Settled:
    """The result for some suspects; those in neither list are equal."""

    found: list[Suspect] = field(default_factory=list)
    """Those that differ."""
    pending: list[Suspect] = field(default_factory=list)
    """Those whose change may not be applied yet."""
    reason: str = ""
    """Why some are pending."""
    waiting: list[Suspect] = field(default_factory=list)
    """Those that the next batch run will write, as it is meant to."""


class Settlement:
    """Settles the suspects of one mapping."""

    def __init__(
        self,
        mapping: TableMapping,
        comparison: Comparison,
        deletions: Deletions,
        marker: Marker,
        is_kept: Callable[[Sequence[tuple[str, ...]]], set[int]],
    ) -> None:
        """`is_kept` returns the positions of keys that came by a callback of the API."""
        self._mapping = mapping
        self._comparison = comparison
        self._deletions = deletions
        self._marker = marker
        self._is_kept = is_kept
        self._reason: str | None = None
        """Why changes are not applied; once it is set, the run does not wait again."""

    def settle(self, suspects: Sequence[Suspect]) -> Settled:
        """Wait for the log, then compare the suspects again."""
        settled, left = Settled(), list(suspects)
        for _ in range(_MAX_ROUNDS):
            if not left:
                return settled
            self._reason = self._reason or self._marker.wait()
            left = self.still_different(left)
            if self._reason:
                settled.pending, settled.reason = left, self._reason
                return settled
            if unread := self._marker.unread(left):
                settled.waiting += unread
                left = without(left, unread)
            unchanged, left = self._split(left)
            settled.found += unchanged
        if left:
            settled.pending, settled.reason = left, _CHANGING
        return settled

    def still_different(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those that the target still does not match."""
        writes = [s.change for s in suspects if isinstance(s.change, Write)]
        return self._comparison.compare(writes) + self.unremoved(
            [s for s in suspects if not isinstance(s.change, Write)]
        )

    def unremoved(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those whose target row is neither deleted nor marked as removed."""
        by_key = {suspect.texts: suspect for suspect in suspects}
        left = self._comparison.present([*by_key])
        kept = self._is_kept(left)
        left = [key for at, key in enumerate(left) if at not in kept]
        marked = [
            action.values
            for action in (self._mapping.on_remove, self._mapping.on_delete)
            if isinstance(action, SetColumns)
        ]
        for values in marked:
            left = self._comparison.unmarked(left, values)
        return [by_key[key] for key in left]

    def _split(self, suspects: Sequence[Suspect]) -> tuple[list[Suspect], list[Suspect]]:
        """Return those whose source row is unchanged, and the current state of the others."""
        if self._mapping.query is not None:  # which cannot select single rows
            return list(suspects), []
        unchanged, changed = self._still_missing(suspects), list[Suspect]()
        read = [s for s in suspects if s.change is not None]
        now = self.read_again([s.change.source for s in read if s.change])
        for suspect in read:
            assert suspect.change is not None
            change = now.get(suspect.change.source.key)
            if same_outcome(suspect.change, change):
                unchanged.append(suspect)
            elif change is not None:
                kind = Kind.EXTRA if isinstance(change, Removal) else suspect.kind
                changed.append(Suspect(kind=kind, key=change.key, change=change))
        return unchanged, changed

    def _still_missing(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those that only the target has, and that the source still lacks."""
        suspects = [suspect for suspect in suspects if suspect.change is None]
        find = self._deletions.find_missing
        if find is None or not suspects:
            return []
        missing = set(find([suspect.texts for suspect in suspects]))
        return [suspect for suspect in suspects if suspect.texts in missing]

    def read_again(self, messages: Sequence[Message]) -> dict[bytes | None, Change]:
        """Return what the source rows of some messages result in now, by the rows' keys."""
        if not messages:
            return {}
        return {change.source.key: change for change in self._deletions.changes_now(messages)}


def without(suspects: Sequence[Suspect], others: Sequence[Suspect]) -> list[Suspect]:
    left_out = set(map(id, others))
    return [suspect for suspect in suspects if id(suspect) not in left_out]
