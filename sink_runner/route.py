"""From decoded events to changes of the target: filter, map, look up, mask, in that order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .chain import Chain
from .changes import Change, Key, Leave, Write
from .dead_letter import DeadLetter, Message
from .envelope import Decoded
from .errors import EventError, StepError
from .incoming import Incoming, Plans, Shape
from .plugin import ABSENT, Action, Event, Op, Review, Strategy, TableMapping, Verdict
from .row import RowPlan, TargetColumn, Values, to_stage

Resolver = Callable[[str, set[Any]], Mapping[Any, Any]]
"""Finds the values of a lookup column, given its name and what to look up."""


HEADER = 5  # bytes that name the writer's schema


@dataclass(slots=True)
class Batch:
    """What a poll's events came to."""

    changes: list[Change] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Route:
    """One mapping's way from decoded events to changes.  Pure but for the lookups."""

    def __init__(
        self,
        mapping: TableMapping,
        columns: Sequence[TargetColumn],
        chain: Chain,
        *,
        shape_of: Callable[[bytes], Shape],
        resolve: Resolver,
        subject: Callable[[Message], str],
        echoes: frozenset[str] = frozenset(),
    ) -> None:
        self._mapping = mapping
        self._columns = columns
        self._chain = chain
        self._shape_of = shape_of
        self._resolve = resolve
        self._subject = subject
        self._echoes = tuple(f"sink/{name}/" for name in echoes)
        self._names = tuple(column.name for column in columns)
        key = mapping.candidates.key if mapping.candidates else mapping.key
        self._key_at = tuple(self._names.index(name) for name in key)
        self._lookups = [i for i, c in enumerate(columns) if c.column.lookup is not None]
        self._merges = mapping.conflict.strategy is Strategy.MERGE_CHANGED
        self._mergeable = [i for i, c in enumerate(columns) if self._is_mergeable(c)]
        self._plain = not (chain.maps or chain.masks)
        self._plans: dict[bytes, Plans] = {}

    def apply(self, events: Iterable[tuple[Message, Decoded]]) -> Batch:
        """Turn a poll's events into changes; what can't be turned is a dead letter."""
        batch = Batch()
        for message, decoded in events:
            try:
                self._event(message, decoded, batch)
            except EventError as error:
                batch.letters.append(DeadLetter(message, error))
        for at in self._lookups:
            self._look_up(at, batch)
        return batch

    # -- one event ---------------------------------------------------------------------------

    def _event(self, message: Message, decoded: Decoded, batch: Batch) -> None:
        assert message.value is not None
        if decoded.origin is not None and decoded.origin.startswith(self._echoes):
            batch.counts["echo"] += 1
            return
        plans = self._plans.get(message.value[:HEADER]) or self._compile(message.value)
        incoming = Incoming(message, decoded, plans)
        if decoded.op == Op.DELETE:
            self._deleted(incoming, batch)
        elif decoded.after is not None:
            self._changed(incoming, decoded.after, batch)
        else:
            raise EventError(f"operation {decoded.op!r} carries no row")

    def _deleted(self, incoming: Incoming, batch: Batch) -> None:
        before = incoming.decoded.before
        if before is None:
            raise EventError("a delete without the old row's key")
        action = self._mapping.on_delete
        if isinstance(action, Review) and not self._belonged(incoming, before):
            batch.counts["dropped"] += 1
            return
        self._leave(incoming, incoming.plans.key.flat(before), action, batch)

    def _changed(self, incoming: Incoming, after: Sequence[Any], batch: Batch) -> None:
        partial = ABSENT in after
        event = None
        if self._chain.filters:
            event = incoming.event(after, with_before=self._mapping.old_row)
            verdict = self._chain.verdict(event)
            if verdict is not Verdict.PASS:
                self._refused(incoming, after, verdict, batch)
                return
        values = self._map(incoming, after, event, partial=partial)
        key = self._key(values)
        if None in key or ABSENT in key:
            raise EventError("a column of the target's key is NULL or missing")
        keep = self._against_before(incoming, values, key, batch)
        if keep is None:
            batch.counts["unchanged"] += 1
            return
        if partial:
            keep |= sum(1 << i for i, value in enumerate(values) if value is ABSENT)
            partial = ABSENT in values
        position = incoming.decoded.lsn or 0
        batch.changes.append(Write(key, values, keep, partial, position, incoming.message))

    def _refused(
        self, incoming: Incoming, after: Sequence[Any], verdict: Verdict, batch: Batch
    ) -> None:
        if verdict is Verdict.DROP:
            batch.counts["dropped"] += 1
            return
        row = incoming.plans.row
        values = row.partial(after) if ABSENT in after else row.flat(after)
        self._leave(incoming, self._key(values), self._mapping.on_retire, batch)

    def _leave(self, incoming: Incoming, key: Key, action: Action, batch: Batch) -> None:
        if None in key:  # a row without the target's key was never written
            batch.counts["dropped"] += 1
            return
        subject = self._subject(incoming.message) if isinstance(action, Review) else ""
        position = incoming.decoded.lsn or 0
        batch.changes.append(Leave(key, action, position, incoming.message, subject))

    def _key(self, values: Values) -> Key:
        return tuple([values[at] for at in self._key_at])

    # -- the old row -------------------------------------------------------------------------

    def _against_before(
        self, incoming: Incoming, values: Values, key: Key, batch: Batch
    ) -> int | None:
        """Which columns to leave alone, as bits; None if the event changes nothing mapped."""
        before = incoming.decoded.before
        if before is None or not self._mapping.old_row or not self._belonged(incoming, before):
            return 0
        old_key = incoming.plans.key.flat(before)
        if old_key != key:
            action = self._mapping.on_rekey or self._mapping.on_retire
            self._leave(incoming, old_key, action, batch)
            return 0
        if not self._merges:
            return 0
        old = incoming.plans.row.flat(before)
        same = [i for i in self._mergeable if old[i] == values[i]]
        return None if len(same) == len(self._mergeable) else sum(1 << i for i in same)

    def _belonged(self, incoming: Incoming, before: Sequence[Any]) -> bool:
        """Did the row before the change belong in the target?"""
        if not self._chain.filters:
            return True
        event = incoming.event(before, with_before=False)
        return self._chain.verdict(event) is Verdict.PASS

    def _is_mergeable(self, target: TargetColumn) -> bool:
        column = target.column
        return bool(column.sources) and not (
            column.on_insert
            or column.name == self._mapping.conflict.version
            or column.name in self._mapping.key
        )

    # -- mapping and masking -----------------------------------------------------------------

    def _map(
        self, incoming: Incoming, after: Sequence[Any], event: Event | None, *, partial: bool
    ) -> Values:
        try:
            if partial:
                return incoming.plans.row.partial(after)
            if self._plain:
                return incoming.plans.row.flat(after)
            return self._through_hooks(incoming, after, event)
        except EventError:
            raise
        except Exception as fault:
            raise StepError("mapping", "columns", f"raised {type(fault).__name__}") from fault

    def _through_hooks(
        self, incoming: Incoming, after: Sequence[Any], event: Event | None
    ) -> Values:
        row = dict(zip(self._names, incoming.plans.row.typed(after), strict=True))
        if self._chain.maps:
            event = event or incoming.event(after, with_before=self._mapping.old_row)
            row = self._chain.map(event, row)
        values = incoming.plans.row.finish([row[name] for name in self._names])
        if not self._chain.masks:
            return values
        more = self._chain.mask(dict(zip(self._names, values, strict=True)))
        self._check_masks(row, more)
        return tuple(more[name] for name in self._names)

    def _check_masks(self, clear: Mapping[str, Any], masked: Mapping[str, Any]) -> None:
        """A plugin may mask more, never less."""
        for column in self._columns:
            value = clear[column.name]
            if column.mask is not None and value is not None and masked[column.name] == value:
                raise StepError("masks", "sink_mask", f"uncovered column {column.name!r}")

    def _compile(self, value: bytes) -> Plans:
        shape = self._shape_of(value)
        key = [self._columns[at] for at in self._key_at]
        plans = Plans(
            row=RowPlan(self._columns, shape.after),
            key=RowPlan(key, shape.before),
            columns={c.name: (i, c.to_python) for i, c in enumerate(shape.after)},
        )
        self._plans[value[:HEADER]] = plans
        return plans

    # -- lookups -----------------------------------------------------------------------------

    def _look_up(self, at: int, batch: Batch) -> None:
        """Put what was found in place of what was looked up, for the whole batch at once."""
        column = self._columns[at].column
        asked = {c.values[at] for c in batch.changes if isinstance(c, Write)} - {None, ABSENT}
        stage = to_stage(self._columns[at])
        answers = self._resolve(column.name, asked) if asked else {}
        found = {value: stage(it) for value, it in answers.items() if it is not None}
        changes, batch.changes = batch.changes, []
        for change in changes:
            if isinstance(change, Write) and change.values[at] is not ABSENT:
                values = list(change.values)
                values[at] = found.get(values[at])
                if values[at] is None and column.required:
                    error = EventError(f"lookup of required column {column.name!r} found nothing")
                    batch.letters.append(DeadLetter(change.source, error))
                    continue
                change = change._replace(values=tuple(values))  # noqa: PLW2901 - same change
            batch.changes.append(change)
