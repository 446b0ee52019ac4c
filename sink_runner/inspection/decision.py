"""Decide why a row is in the target or not, from the steps of its event and what is stored of it.

The sentences name columns, rules, offsets and numbers, and never a value of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import SinkError
from ..model.changes import Key, Removal
from ..model.message import ROWS, Message
from ..model.outcome import Outcome
from ..plugin import Delete, Ignore, Review
from ..postgres.session import Connection
from ..writer import conflict_store
from ..writer.audit import trail
from ..writer.conflict_store import Conflict
from ..writer.conflicts import SOURCE_WINS
from .dry_run import DryRun
from .explain import Passage
from .explanation import Decision, Explained, Reason
from .service import DlqService
from .target_state import EventState, RowState

_SETTLED = {
    "DISCARDED": (
        Reason.DISCARDED,
        "a person has discarded it; see `sink-runner audit`",
    ),
    "SUPERSEDED": (
        Reason.SUPERSEDED,
        "a newer row of its source row was applied in its place",
    ),
}
_OUTCOMES = {
    Outcome.ECHO: (Reason.ECHO, "it is a write of this runner that came back from the target"),
    Outcome.UNCHANGED: (Reason.UNCHANGED, "it changes no column that the mapping reads"),
    Outcome.TOMBSTONE: (Reason.TOMBSTONE, "it is a tombstone, and its delete event was applied"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one event."""

    service: DlqService
    dry: DryRun
    message: Message
    explained: Explained
    passage: Passage
    state: EventState
    row: RowState | None = None
    """None if the event has no target row."""
    conflicts: Sequence[Conflict] = ()

    @property
    def is_source_row(self) -> bool:
        """Whether it is a row read from the source's table, and not an event."""
        return self.message.partition == ROWS

    @property
    def noun(self) -> str:
        return "source row" if self.is_source_row else "event"


def key_texts(service: DlqService, dry: DryRun, message: Message, key: Key | None) -> list[str]:
    """Return the texts by which the runner's tables name a message's row to people."""
    pipeline = dry.pipeline
    text = trail(pipeline.name, pipeline.mapping, pipeline.compiled, service.encryptor).key_text
    found = [] if key is None else [text(key)]
    if message.key is not None:
        with suppress(SinkError):
            found.append(text.of_source(pipeline.source.subject(message)))
    return found


def find_conflicts(session: Connection, dry: DryRun, keys: list[str]) -> Sequence[Conflict]:
    """Return the recorded conflicts of a row, the newest first."""
    table = dry.pipeline.mapping.target_table.name
    return conflict_store.find(
        session, conflict_store.Wanted(all=True, table=table, most=5, records=keys)
    )


def decide(found: Evidence) -> Decision:
    """Return why the event's row is in the target or not."""
    return (
        _not_applied(found)
        or _set_aside(found)
        or _stopped(found)
        or _fails(found)
        or decide_row(found)
    )


def decide_source_row(found: Evidence) -> Decision:
    """Return what the target has of a source row, read as a batch run reads it."""
    return _stopped(found) or _fails(found) or decide_row(found)


def _not_applied(found: Evidence) -> Decision | None:
    progress, message = found.state.progress, found.message
    if progress is None:
        return Decision(
            Reason.NOT_APPLIED,
            "The event is not applied: no runner has ever read the topic for this mapping. Start "
            "`sink-runner run`.",
        )
    left = message.offset - progress.next_offset
    if left < 0:
        return None
    return Decision(
        Reason.NOT_APPLIED,
        f"The event is not applied yet: the mapping has applied partition {message.partition} up "
        f"to offset {progress.next_offset}, {left} records before it, last by "
        f"{progress.owner} at {progress.updated_at:%Y-%m-%d %H:%M:%S %Z}.",
    )


def _set_aside(found: Evidence) -> Decision | None:
    """Return the decision on a dead letter; None for one that was replayed."""
    dead_letter, blocker = found.state.dead_letter, found.state.blocker
    if dead_letter is None:
        return None
    database = found.dry.pipeline.mapping.target_table.database
    name = f"{database}/{dead_letter.dlq_id}"
    if dead_letter.status == "OPEN":
        return Decision(
            Reason.DEAD,
            f"The event is dead letter {name}, open: {dead_letter.error_class}: "
            f"{dead_letter.error_message}",
        )
    if dead_letter.status == "PARKED":
        kind = "dead letter" if blocker and blocker.status == "OPEN" else "deferred event"
        why = f"behind {kind} {database}/{blocker.dlq_id} of its row" if blocker else ""
        return Decision(
            Reason.DEFERRED,
            f"The event is deferred as {name}"
            + (f", {why}" if why else "")
            + f": {dead_letter.error_message}",
        )
    if dead_letter.status not in _SETTLED:
        return None
    reason, text = _SETTLED[dead_letter.status]
    return Decision(reason, f"The event was dead letter {name}: {text}.")


def _stopped(found: Evidence) -> Decision | None:
    """Return the decision on an event that leads to no change."""
    counts = found.passage.batch.counts
    if counts[Outcome.FILTERED]:
        step = found.explained.steps[-1]
        return Decision(Reason.FILTERED, f"The {found.noun} was {step.detail.partition(':')[0]}.")
    for outcome, (reason, text) in _OUTCOMES.items():
        if counts[outcome]:
            return Decision(reason, f"The {found.noun} changes nothing: {text}.")
    return None


def _fails(found: Evidence) -> Decision | None:
    step, error = found.explained.steps[-1], found.passage.error
    if step.state != "FAILED":
        return None
    kind = f"{type(error).__name__}: " if error is not None else ""
    return Decision(
        Reason.FAILS, f"The {found.noun} would fail now at step {step.name!r}: {kind}{step.detail}"
    )


def decide_row(found: Evidence) -> Decision:
    """Return why the target's row is as it is, of an event that was applied."""
    change, row = found.passage.change, found.row
    if change is None or row is None:
        return Decision(Reason.REMOVED, "The event empties the target or leaves it as it is.")
    if isinstance(change, Removal):
        return _removal(found, change, row)
    if row.values is None:
        return _absent(found, row)
    if not row.differing:
        masked = [one.name for one in found.dry.pipeline.compiled.columns if one.mask is not None]
        hidden = f"; masked by policy: {', '.join(masked)}" if masked else ""
        return Decision(Reason.PRESENT, f"The target has the row as the {found.noun} says{hidden}.")
    return _differing(found, row, ", ".join(row.differing))


def _removal(found: Evidence, change: Removal, row: RowState) -> Decision:
    action = type(change.action).__name__
    if isinstance(change.action, Review):
        return _conflict(found) or Decision(
            Reason.KEPT, "The event removes the row, and the mapping leaves that to a person."
        )
    if row.values is None:
        at = f" at {row.deleted_at:%Y-%m-%d %H:%M:%S %Z}" if row.deleted_at else ""
        return Decision(Reason.REMOVED, f"The event removes the row, and the target lacks it{at}.")
    if isinstance(change.action, Ignore):
        return Decision(Reason.KEPT, "The event removes the row, and the mapping ignores that.")
    if isinstance(change.action, Delete):
        return Decision(
            Reason.STALE, "The event removed the row, and the target has a later row of this key."
        )
    return Decision(Reason.REMOVED, f"The event marks the row as removed ({action}).")


def _absent(found: Evidence, row: RowState) -> Decision:
    if row.deleted_at is not None:
        at = f"{row.deleted_at:%Y-%m-%d %H:%M:%S %Z}"
        if row.run is not None:
            return Decision(
                Reason.REMOVED_BY_BATCH,
                f"Batch run {row.run} has removed the row from the target at {at}.",
            )
        return Decision(Reason.REMOVED, f"A later event has removed the row at {at}.")
    if found.passage.outcomes[Outcome.STALE]:
        return Decision(Reason.REMOVED, "A later TRUNCATE of the source table has removed the row.")
    if found.is_source_row:
        return Decision(Reason.MISSING, "The target has no row for the source row.")
    return Decision(
        Reason.MISSING,
        "The event was applied, and the target has no such row now: something else has removed "
        f"it. `sink-runner reconcile {found.dry.pipeline.name} --repair` writes it again.",
    )


def _differing(found: Evidence, row: RowState, columns: str) -> Decision:
    rule = found.dry.pipeline.mapping.conflict
    by = f" by {rule.version}" if rule.version else ""
    if conflict := _conflict(found):
        return conflict
    if row.newer or found.passage.outcomes[Outcome.STALE]:
        return Decision(
            Reason.STALE,
            f"The target holds something newer{by}: it differs in {columns}.",
        )
    if found.passage.written is not None and not found.passage.written.rows:
        return Decision(
            Reason.KEPT,
            f"The conflict rule ({rule.strategy.value}{by}) keeps the target's {columns}.",
        )
    if found.is_source_row:
        return Decision(Reason.DIFFERENT, f"The target differs from the source row in {columns}.")
    return Decision(
        Reason.DIFFERENT,
        f"The event was applied, and something else has changed {columns} in the target since. "
        f"`sink-runner reconcile {found.dry.pipeline.name} --repair` writes the row again.",
    )


def _conflict(found: Evidence) -> Decision | None:
    """Return the decision if a conflict was decided for the target, or waits for a person."""
    for one in found.conflicts:
        if one.action == SOURCE_WINS:
            continue
        see = f"see `sink-runner conflicts show {one.id} --database {one.target}`."
        if one.resolved is None:
            text = f"Conflict {one.id} of the row ({one.type}) waits for a person; {see}"
            return Decision(Reason.CONFLICT, text)
        text = f"Conflict {one.id} of the row ({one.type}) was decided: {one.action}; {see}"
        return Decision(Reason.LOST, text)
    return None
