"""Send an event through the current pipeline, as a dry run, and report each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..dlq.stored_dead_letters import DISCARDED, REPLAYED, SUPERSEDED, StoredDeadLetter
from ..error_text import describe, sqlstate_of, text_of
from ..errors import (
    ConfigError,
    DecodeError,
    EventError,
    ExpiredError,
    QualityError,
    SinkError,
    StepError,
    WaitingError,
)
from ..masking.lineage import carried
from ..masking.principals import group_principal
from ..masking.scrub import HIDDEN
from ..model.batch import Batch
from ..model.changes import Change, Write
from ..model.message import Message
from ..model.outcome import Outcome
from ..pipeline import Pipeline
from ..plugin import ABSENT, Strategy, TableMapping
from ..postgres.target_column import TargetColumn
from ..writer.isolation import Written
from .dry_run import DryRun, open_dry_run
from .explanation import FAILED, OK, STOPPED, Explained
from .service import DlqService
from .trace import Trace

_HOOKS = {"sink_filter": "filter", "sink_map": "map", "sink_mask": "mask", "columns": "map"}
_NO_EVENT = DecodeError("the record is not a change event")
_SETTLED = {
    REPLAYED: "replayed: it was applied, and its payload deleted",
    DISCARDED: "discarded: it was given up, and its payload deleted",
    SUPERSEDED: "superseded: a newer row of its source row was applied, and its payload deleted",
}


@dataclass(slots=True)
class Passage:
    """What became of an event in the dry run."""

    batch: Batch = field(default_factory=Batch)
    error: EventError | None = None
    """Why it would become a dead letter."""
    written: Written | None = None
    """What the write would do; None if the event does not come so far."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """The outcomes of the write."""

    @property
    def change(self) -> Change | None:
        """The row that the event writes, or else the one that it removes."""
        changes = self.written.changes if self.written else self.batch.changes
        return next((one for one in changes if isinstance(one, Write)), next(iter(changes), None))


def explain(service: DlqService, database: str, dead_letter: StoredDeadLetter) -> Explained:
    """Return what would happen to the dead letter if it were replayed now."""
    explained = Explained(f"{database}/{dead_letter.dlq_id}", dead_letter.flow)
    plugin = service.plugins.get(dead_letter.flow)
    if plugin is None or plugin.mapping is None:
        raise ConfigError(f"mapping {dead_letter.flow!r} is not on: there is no chain to try")
    if dead_letter.status in _SETTLED:
        explained.add("status", STOPPED, _SETTLED[dead_letter.status])
        return explained
    message = service.payloads.message(dead_letter)
    explained.add(
        "open", OK, f"encrypted with key {dead_letter.key_id!r}, {len(message.value or b'')} bytes"
    )
    if message.value is None:
        explained.add("decode", FAILED, text_of(_NO_EVENT))
        return explained
    with open_dry_run(service, plugin, of_batch=dead_letter.of_batch) as dry:
        explain_message(explained, service, dry, message)
    return explained


def explain_message(
    explained: Explained, service: DlqService, dry: DryRun, message: Message, *, writes: bool = True
) -> Passage:
    """Add the steps of an event, or of a row of a batch run, and the rows that it results in.

    Without `writes` the write is left out.
    """
    pipeline = dry.pipeline
    decoded = pipeline.decode([message])
    if decoded.dead_letters:
        error = decoded.dead_letters[0].error
        explained.add("decode", FAILED, text_of(error))
        return Passage(error=error)
    ((_, event),) = decoded.events
    explained.add("decode", OK, f"operation {event.op!r}{_origin(event.origin)}")
    batch = pipeline.transform(decoded)
    passage = Passage(batch, batch.dead_letters[0].error if batch.dead_letters else None)
    _chain(explained, service, dry, passage)
    explained.rows = [_redact(service, pipeline, change) for change in batch.changes]
    if writes and not explained.over:
        _write(explained, dry, passage)
    return passage


def _origin(origin: str | None) -> str:
    return f", written by {origin}" if origin else ""


def _chain(explained: Explained, service: DlqService, dry: DryRun, passage: Passage) -> None:
    """Report the steps from the filter to the lookups."""
    error, counts, trace = passage.error, passage.batch.counts, dry.trace
    at = None if error is None else _step_of(error, trace)
    for name, text in _steps(service, dry, passage.batch):
        if name == at and error is not None:
            explained.add(name, FAILED, _why(error))
            return
        if name == "origin" and counts[Outcome.ECHO]:
            explained.add(name, STOPPED, "it would only go back to where it came from")
            return
        explained.add(name, OK, text)
        if name == "filter" and (counts[Outcome.FILTERED] or counts[Outcome.TOMBSTONE]):
            explained.add(name, STOPPED, _dropped(trace, tombstone=bool(counts[Outcome.TOMBSTONE])))
            return
        if name == "map" and counts[Outcome.UNCHANGED]:
            explained.add(name, STOPPED, "no mapped column has changed")
            return


def _dropped(trace: Trace, *, tombstone: bool) -> str:
    if tombstone:
        return "a tombstone: the delete event before it has removed the row, if any"
    by = [answer.plugin for answer in trace.of("sink_filter") if answer.answer != "PASS"]
    rule = f"by the filter of {', '.join(by)}" if by else "by the mapping's declaration"
    return f"dropped {rule}: it changes nothing in the target"


def _steps(service: DlqService, dry: DryRun, batch: Batch) -> Iterator[tuple[str, str]]:
    pipeline, trace = dry.pipeline, dry.trace
    yield "origin", "not an echo of this mapping's own writes"
    yield "filter", _answers(trace, "sink_filter") or "no plugin filters"
    rules = [rule.name for rule in pipeline.mapping.rules]
    yield "rules", ", ".join(rules) or "no rules of the whole row"
    defaults = [name for _, name in batch.defaults]
    used = f"; default used: {', '.join(defaults)}" if defaults else ""
    mapped, columns = _answers(trace, "sink_map"), pipeline.compiled.columns
    yield (
        "map",
        f"{len(columns)} columns{used}" + (f"; {mapped}" if mapped else ""),
    )
    masked = [_mask(service, pipeline, column) for column in columns if column.mask is not None]
    more = _answers(trace, "sink_mask")
    yield (
        "mask",
        (f"{', '.join(masked) or 'nothing by policy'}; policies version {service.policies.version}")
        + (f"; {more}" if more else ""),
    )
    found = [f"{name}: {n} of {of} found" for name, (of, n) in trace.lookups.items()]
    yield "lookup", ", ".join(found) or "nothing is looked up"


def _mask(service: DlqService, pipeline: Pipeline, column: TargetColumn) -> str:
    """Return the name of a masked column, with its mask and the policy that demands it."""
    mapping, principal = pipeline.mapping, group_principal(pipeline.mapping.target_table.database)
    for origin in carried(mapping, column.column, pipeline.compiled.origins):
        mask = origin.decide(service.policies, principal)
        if mask is not None:
            policy = f"policy {mask.policy_id} version {mask.policy_version}"
            return f"{column.name} ({mask.kind} by {policy})"
    return column.name


def _step_of(error: EventError, trace: Trace) -> str:
    """Return the step that raised the error."""
    if isinstance(error, StepError):
        return _HOOKS.get(error.step, "map")
    if isinstance(error, WaitingError | ExpiredError) or trace.lookups:
        return "lookup"
    if isinstance(error, QualityError):
        return "map" if error.column else "rules"
    return "map"


def _write(explained: Explained, dry: DryRun, passage: Passage) -> None:
    pipeline, trace = dry.pipeline, dry.trace
    try:
        written, passage.error = dry.write(passage.batch)
    except SinkError as fault:  # a transient error, or one of the configuration
        explained.add("write", FAILED, f"the mapping would wait or stop: {text_of(fault)}")
        return
    if resolved := _answers(trace, "sink_resolve_conflict"):
        explained.add("resolve", OK, resolved)
    if passage.error is not None:
        explained.add("write", FAILED, _why(passage.error))
        return
    passage.written, passage.outcomes = written, pipeline.committer.outcomes
    if merged := _merge(pipeline.mapping, pipeline.compiled.columns, passage.batch.changes):
        explained.add("merge", OK, merged)
    if written.rows:
        explained.add("write", OK, f"would change {written.rows} rows; rolled back")
    else:
        explained.add("write", OK, "would change nothing: the target holds this, or what is newer")


def _merge(
    mapping: TableMapping, columns: Sequence[TargetColumn], changes: Sequence[Change]
) -> str:
    """Return how the conflict rule decides between the event's row and the target's."""
    writes = [change for change in changes if isinstance(change, Write)]
    if not writes:
        return ""
    rule = mapping.conflict
    text = rule.strategy.value + (f" by {rule.version}" if rule.version else "")
    if rule.strategy is Strategy.MERGE_CHANGED or writes[0].partial:
        kept = [column.name for at, column in enumerate(columns) if writes[0].keep >> at & 1]
        text += f"; does not change {', '.join(kept) or 'no column'}" if kept else ""
    return text


def _why(error: EventError) -> str:
    state = sqlstate_of(error)
    cause = f" ({describe(error.__cause__, nested=True)})" if error.__cause__ is not None else ""
    return text_of(error) + (f", SQLSTATE {state}" if state else "") + ("" if state else cause)


def _answers(trace: Trace, hook: str) -> str:
    return ", ".join(f"{answer.plugin}: {answer.answer}" for answer in trace.of(hook))


def _redact(service: DlqService, pipeline: Pipeline, change: Change) -> dict[str, Any]:
    keyed = pipeline.mapping.derived or pipeline.mapping
    if isinstance(change, Write):
        names: Sequence[str] = [column.name for column in pipeline.compiled.columns]
        values, does = change.values, "write"
    else:
        names, values, does = keyed.key, change.key, type(change.action).__name__.lower()
    row = {name: value for name, value in zip(names, values, strict=True) if value is not ABSENT}
    return {"does": does, "row": visible_row(service, pipeline, row)}


def visible_row(service: DlqService, pipeline: Pipeline, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a target row as the user may see it; values of personal columns are hidden."""
    redactor = service.access.redactor(pipeline.mapping.target_table, row)
    visible = redactor.row(row, clear=False) or {}
    known = pipeline.compiled.unmasked | redactor.masks.keys()
    hidden = [name for name in visible if name not in known]
    return visible | dict.fromkeys(hidden, HIDDEN)
