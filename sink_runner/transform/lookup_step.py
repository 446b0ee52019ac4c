"""Replace the values of a lookup column by the values found, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EventError, WaitingError, lookup_failed
from ..model.batch import Batch
from ..model.changes import Write
from ..model.dead_letter import DeadLetter
from ..plugin import ABSENT
from ..postgres.target_column import TargetColumn
from .before_image import looked_up_too
from .pg_encoding import text_key
from .row_plan import to_found

Resolver = Callable[[str, set[Any]], Mapping[Any, Any]]
"""Finds the values of a lookup column, given its name and the values to look up."""


@dataclass(frozen=True, slots=True)
class LookupStep:
    """The lookups of one mapping."""

    columns: Sequence[TargetColumn]
    key_at: Sequence[int]
    """The indexes of the key's columns."""
    mergeable: frozenset[int]
    """The indexes of the columns that an event does not write if it did not change them."""

    def apply(self, at: int, batch: Batch, resolve: Resolver) -> None:
        """Look up column `at`; events whose value is not found become dead letters."""
        writes = [c for c in batch.changes if isinstance(c, Write) and c.values[at] is not ABSENT]
        values = [value for c in writes for value in (c.values[at], c.base and c.base[at])]
        wanted = {text_key(value): value for value in values if value is not None}
        found = self._found(self.columns[at], wanted, resolve)
        failed: dict[int, DeadLetter] = {}
        changes, batch.changes = batch.changes, []
        for change in changes:
            if isinstance(change, Write) and change.values[at] is not ABSENT:
                replaced = self._replaced(change, at, found)
                if isinstance(replaced, EventError):
                    failed[id(change.source)] = DeadLetter(change.source, replaced)
                    continue
                change = replaced  # noqa: PLW2901 - same change
            batch.changes.append(change)
        if failed:  # an event is applied as a whole or not at all
            batch.changes = [c for c in batch.changes if id(c.source) not in failed]
            batch.dead_letters.extend(failed.values())

    def _replaced(self, change: Write, at: int, found: Mapping[Any, Any]) -> Write | EventError:
        """Return the change with the value found, or the error that prevents it."""
        value = change.values[at]
        answer = None if value is None else found.get(text_key(value))
        if isinstance(answer, EventError):
            return answer
        column = self.columns[at].column
        if answer is None and (column.required or (column.must_resolve and value is not None)):
            return WaitingError(f"lookup of column {column.name!r} found nothing", column.name)
        if answer is None and (mask := self.columns[at].mask) is not None:
            answer = mask(None)  # the mask may hide that no value was found
        values = (*change.values[:at], answer, *change.values[at + 1 :])
        if at not in self.key_at:
            merges = at in self.mergeable
            return looked_up_too(change._replace(values=values), at, found, merges=merges)
        if answer is None:
            return EventError(f"lookup of key column {column.name!r} found nothing")
        return change._replace(key=tuple([values[i] for i in self.key_at]), values=values)

    def _found(
        self, target: TargetColumn, wanted: Mapping[Any, Any], resolve: Resolver
    ) -> dict[Any, Any]:
        """Return the value found, or an EventError, for each value to look up, by its text."""
        if not wanted:
            return {}
        stage = to_found(target)
        try:
            answers = resolve(target.name, set(wanted.values()))
            return {text_key(value): stage(it) for value, it in answers.items() if it is not None}
        except (EventError, TypeError, ValueError) as fault:
            if len(wanted) == 1:
                return dict.fromkeys(wanted, lookup_failed(target.name, fault))
        pairs, half = list(wanted.items()), len(wanted) // 2
        halves = dict(pairs[:half]), dict(pairs[half:])
        return {k: v for part in halves for k, v in self._found(target, part, resolve).items()}
