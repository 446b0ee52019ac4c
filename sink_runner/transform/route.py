"""Turn decoded events into changes of the target: filter, map, look up, mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import EventError, source_truncated
from ..model.batch import Batch, Masking
from ..model.changes import READ, Change, Key, Removal, Write
from ..model.dead_letter import DeadLetter
from ..model.envelope import Decoded
from ..model.message import Message, is_moved
from ..model.outcome import Outcome
from ..model.quality_rules import check_row
from ..plugin import (
    ABSENT,
    Action,
    Event,
    FilterResult,
    OnTruncate,
    Op,
    Review,
    Strategy,
    TableMapping,
)
from ..postgres.error_classes import event_error
from ..postgres.target_column import TargetColumn
from .before_image import base_of
from .hidden_values import HiddenValues
from .incoming import Incoming, Plans, Shape, position_of
from .lookup_step import LookupStep, Resolver
from .row_plan import RowPlan, Values, check_masks, is_same, is_whole
from .steps import Chain
from .target_lookups import Connection, ResolveInTarget, target_lookup_columns, waves

DeriveRemoval = Callable[[Message, Sequence[TargetColumn]], Removal | None]
"""Returns the removal of a tombstone, by its message and the columns of the target's key."""


HEADER = 5  # bytes that name the writer's schema


class Route:
    """Turns the decoded events of one mapping into changes.  Pure apart from the lookups."""

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
        feeds: Callable[[str], bool] = lambda _origin: False,
        masking: Masking | None = None,
        resolve_in_target: ResolveInTarget | None = None,
        owner_of: Callable[[Message], str | None] | None = None,
        removal: DeriveRemoval | None = None,
    ) -> None:
        """`resolve_in_target` runs the lookups that read the target; if None, `resolve` does."""
        self._mapping, self._needs_before = mapping, mapping.needs_before_image
        self._masking = masking
        self._hidden = HiddenValues(mapping, masking.hidden if masking else None)
        self._columns = columns
        self._chain = chain
        self._shape_of = shape_of
        self._resolve = resolve
        self._subject = subject
        self._echoes, self._feeds = tuple(f"sink/{name}/" for name in echoes), feeds
        self._names = tuple(column.name for column in columns)
        key = mapping.derived.key if mapping.derived else mapping.key
        self._key_at = tuple(self._names.index(name) for name in key)
        self._lookups = [i for i, c in enumerate(columns) if c.column.lookup is not None]
        in_target = target_lookup_columns(mapping, [column.column for column in columns])
        self._resolve_in_target = resolve_in_target
        self._in_target = [
            at for at in self._lookups if resolve_in_target and self._names[at] in in_target
        ]
        self._known_key = [i for i, at in enumerate(self._key_at) if at not in self._in_target]
        self._stays = any(at in self._key_at for at in self._lookups)
        self._merges = mapping.conflict.strategy is Strategy.MERGE_CHANGED
        self._mergeable = [i for i, c in enumerate(columns) if self._is_mergeable(c)]
        self._lookup_step = self._compile_lookups()
        self._plain = not (chain.maps or chain.masks)
        compares = mapping.conflict_detection is not None or (self._merges and self._lookups)
        self._compares = self._plain and bool(compares)
        self._direct = self._plain and not (chain.filters or self._needs_before or mapping.rules)
        self._owner_of, self._removal = owner_of, removal
        self._defaulted: list[str] = []
        self._plans: dict[bytes, Plans] = {}

    def remask(self, columns: Sequence[TargetColumn], masking: Masking) -> None:
        """Use the masks of these columns from the next batch on; call it between two batches."""
        self._columns, self._masking = columns, masking
        self._lookup_step = self._compile_lookups()
        self._hidden = HiddenValues(self._mapping, masking.hidden)
        self._plans.clear()

    def apply(self, events: Iterable[tuple[Message, Decoded]]) -> Batch:
        """Return the changes of events, and a dead letter for each event that cannot be applied."""
        batch = Batch(masking=self._masking)
        defaulted = self._defaulted
        defaulted.clear()
        for message, decoded in events:
            start = len(batch.changes)
            try:
                self._event(message, decoded, batch)
            except BaseException as error:  # noqa: BLE001 - a mapping's own functions may raise anything
                fault = event_error(error)
            else:
                if defaulted:
                    batch.defaults += [(message, c) for c in defaulted if batch.changes[start:]]
                    defaulted.clear()
                continue
            del batch.changes[start:], defaulted[:]
            batch.dead_letters.append(DeadLetter(message, fault))
        if self._owner_of is not None:
            batch.changes = [c._replace(owner=self._owner_of(c.source)) for c in batch.changes]
        for at in self._lookups:
            if at not in self._in_target:
                self._lookup_step.apply(at, batch, self._resolve)
        return batch

    def event_of(self, message: Message, decoded: Decoded) -> Event | None:
        """Return the event for hooks; None for a record without a row."""
        row = decoded.before if decoded.op == Op.DELETE else decoded.after
        if message.value is None or row is None:
            return None
        plans = self._plans.get(message.value[:HEADER]) or self._compile(message.value)
        return Incoming(message, decoded, plans).event(row, with_before=self._needs_before)

    @property
    def reads_target(self) -> bool:
        """Whether lookups are left to `look_up_in_target`."""
        return bool(self._in_target)

    def target_waves(self, changes: Sequence[Change]) -> list[list[Change]]:
        """Split changes into waves that are looked up in the target and written together."""
        return waves(changes, self._known_key)

    def look_up_in_target(self, changes: Sequence[Change], connection: Connection) -> Batch:
        """Run the lookups that read the target, in the transaction that writes these changes."""
        resolve = self._resolve_in_target
        assert resolve is not None
        batch = Batch(changes=list(changes))
        for at in self._in_target:
            self._lookup_step.apply(
                at, batch, lambda column, values: resolve(column, values, connection)
            )
        return batch

    # -- one event ---------------------------------------------------------------------------

    def _event(self, message: Message, decoded: Decoded, batch: Batch) -> None:
        if message.value is None:
            self._tombstone(message, batch)
            return
        origin = decoded.origin
        if origin is not None and (origin.startswith(self._echoes) or self._feeds(origin)):
            batch.counts[Outcome.ECHO] += 1
            return
        if decoded.op == Op.TRUNCATE:
            self._truncated(decoded, batch)
            return
        plans = self._plans.get(message.value[:HEADER]) or self._compile(message.value)
        after = decoded.after
        if decoded.lsn is None and decoded.op != Op.READ:
            batch.callbacks.add(id(message))
        if after is not None and self._direct and plans.whole and not decoded.partial:
            values = plans.row.flat(after)
            key, position = self._whole_key(values), position_of(decoded)
            batch.changes.append(
                Write(key, values, 0, partial=False, position=position, source=message)
            )
            return
        incoming = Incoming(message, decoded, plans)
        if decoded.op == Op.DELETE:
            self._deleted(incoming, batch)
        elif after is not None:
            self._changed(incoming, after, batch)
        else:
            raise EventError(f"operation {decoded.op!r} carries no row")

    def _truncated(self, decoded: Decoded, batch: Batch) -> None:
        position = position_of(decoded)
        match self._mapping.on_truncate:
            case OnTruncate.EMPTY if position is not None:
                batch.truncated = max(batch.truncated or position, position)
                batch.counts[Outcome.REMOVED] += 1
            case OnTruncate.KEEP:
                batch.counts[Outcome.FILTERED] += 1
            case _:
                raise source_truncated(self._mapping.source, self._mapping.target)

    def _tombstone(self, message: Message, batch: Batch) -> None:
        """Remove the row of a key whose delete event is gone from the topic."""
        columns = [self._columns[at] for at in self._key_at]
        leave = self._removal(message, columns) if self._removal and not self._stays else None
        if leave is None:
            batch.counts[Outcome.TOMBSTONE] += 1
        else:
            batch.changes.append(leave)

    def _deleted(self, incoming: Incoming, batch: Batch) -> None:
        before = incoming.decoded.before
        if before is None:
            raise EventError("a delete event without the before image's key")
        action = self._mapping.on_delete
        if isinstance(action, Review) and (
            is_moved(incoming.message) or not self._belonged(incoming, before)
        ):
            batch.counts[Outcome.FILTERED] += 1
            return
        self._leave(incoming, incoming.plans.key.flat(before), action, batch)

    def _changed(self, incoming: Incoming, after: Sequence[Any], batch: Batch) -> None:
        partial = ABSENT in after
        event = None
        if self._chain.filters:
            event = incoming.event(after, with_before=self._needs_before)
            result = self._chain.filter(event)
            if result is not FilterResult.PASS:
                self._refused(incoming, after, result, batch)
                return
        if self._mapping.rules:
            check_row(self._mapping.rules, incoming.row(after))
        values = self._map(incoming, after, event, partial=partial)
        key = self._whole_key(values)
        keep = self._against_before(incoming, values, key, batch)
        if keep is None:
            batch.counts[Outcome.UNCHANGED] += 1
            return
        if partial:
            keep |= sum(1 << i for i, value in enumerate(values) if value is ABSENT)
            partial = ABSENT in values
        position = incoming.position
        base, before = None, incoming.decoded.before
        if self._compares and before is not None and self._belonged(incoming, before):
            base = base_of(incoming, key, self._key_at, self._lookups)
        batch.changes.append(Write(key, values, keep, partial, position, incoming.message, base))

    def _whole_key(self, values: Values) -> Key:
        key = tuple([values[at] for at in self._key_at])
        if None in key or ABSENT in key:
            raise EventError(f"key column {self._lacking(key, None, ABSENT)} is NULL or missing")
        return key

    def _lacking(self, key: Key, *lacks: Any) -> str:
        """Return the first column of the target's key whose value is one of `lacks`."""
        pairs = zip(self._key_at, key, strict=True)
        return next(repr(self._names[at]) for at, v in pairs if any(v is one for one in lacks))

    def _refused(
        self, incoming: Incoming, after: Sequence[Any], result: FilterResult, batch: Batch
    ) -> None:
        if result is FilterResult.DROP:
            batch.counts[Outcome.FILTERED] += 1
            return
        key = incoming.plans.leaving.partial(after)
        before = incoming.decoded.before
        if before is not None and self._needs_before and self._belonged(incoming, before):
            key = incoming.plans.key.flat(before)  # the target has the row under this key
        self._leave(incoming, key, self._mapping.on_remove, batch)

    def _leave(
        self, incoming: Incoming, key: Key, action: Action, batch: Batch, *, moved: bool = False
    ) -> None:
        if ABSENT in key:
            raise EventError(
                f"key column {self._lacking(key, ABSENT)} is not in the event: give the source "
                "table REPLICA IDENTITY FULL"
            )
        # A row with NULL in its key was never written.  A key that is looked up is unknown here.
        if None in key or self._stays:
            if not moved:
                batch.counts[Outcome.FILTERED] += 1
            return
        subject = self._subject(incoming.message) if isinstance(action, Review) else ""
        position = incoming.position
        batch.changes.append(Removal(key, action, position, incoming.message, subject, moved=moved))

    # -- the before image --------------------------------------------------------------------

    def _against_before(
        self, incoming: Incoming, values: Values, key: Key, batch: Batch
    ) -> int | None:
        """Return `Write.keep`; None if the event changes no mapped column."""
        before = incoming.decoded.before
        if before is None or not self._needs_before or not self._belonged(incoming, before):
            return READ if self._merges and incoming.decoded.op == Op.READ else 0
        old_key = incoming.plans.key.flat(before)
        if old_key != key:
            action = self._mapping.on_key_change or self._mapping.on_remove
            self._leave(incoming, old_key, action, batch, moved=True)
            return 0
        if not self._merges:
            return 0
        old = incoming.plans.old.comparable(before)
        same = [i for i in self._mergeable if is_same(old[i], values[i])]
        return None if len(same) == len(self._mergeable) else sum(1 << i for i in same)

    def _belonged(self, incoming: Incoming, before: Sequence[Any]) -> bool:
        """Return whether the before image belonged in the target."""
        if not self._chain.filters:
            return True
        event = incoming.event(before, with_before=False)
        return self._chain.filter(event) is FilterResult.PASS

    def _is_mergeable(self, target: TargetColumn) -> bool:
        column = target.column
        fixed = {self._mapping.conflict.version, *self._mapping.key}
        return bool(column.sources) and not column.insert_only and column.name not in fixed

    # -- mapping and masking -----------------------------------------------------------------

    def _map(
        self, incoming: Incoming, after: Sequence[Any], event: Event | None, *, partial: bool
    ) -> Values:
        plan = incoming.plans.row
        if self._plain:
            return plan.partial(after) if partial else plan.flat(after)
        typed = plan.partial_typed(after) if partial else plan.typed(after)
        row = declared = dict(zip(self._names, typed, strict=True))
        if self._chain.maps:
            event = event or incoming.event(after, with_before=self._needs_before)
            row = self._chain.map(event, self._hidden.target(declared))
        clear = self._hidden.revealed(row, self._names)
        values = plan.partial_finish(clear) if ABSENT in clear else plan.finish(clear)
        if self._chain.masks:
            more = self._chain.mask(dict(zip(self._names, values, strict=True)))
            masked = tuple(more[name] for name in self._names)
            check_masks(self._columns, clear, values, masked)
            values = masked
        if event and self._hidden:
            mapped = zip(self._names, values, clear, declared.values(), strict=True)
            before = incoming.decoded.before if self._needs_before else None
            rows = [incoming.row(it) for it in (after, before) if it is not None]
            self._hidden.refuse_leaks(rows, mapped)
        return values

    def _compile(self, value: bytes) -> Plans:
        shape = self._shape_of(value)
        unruled = [column.unruled for column in self._columns]
        key = [unruled[at] for at in self._key_at]
        columns = {c.name: (i, c.to_python) for i, c in enumerate(shape.after)}
        plans = Plans(
            row=RowPlan(self._columns, shape.after, self._defaulted.append),
            old=RowPlan(unruled, shape.after),
            key=RowPlan(key, shape.before),
            leaving=RowPlan(key, shape.after),
            whole=is_whole(shape.after),
            columns=columns,
            seen=self._hidden.source(columns),
        )
        self._plans[value[:HEADER]] = plans
        return plans

    def _compile_lookups(self) -> LookupStep:
        mergeable = self._mergeable if self._merges else ()
        return LookupStep(self._columns, self._key_at, frozenset(mergeable))
