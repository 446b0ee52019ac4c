"""Send the event of a dead letter through the current pipeline, as a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
from ..masking.scrub import HIDDEN
from ..model.batch import Batch
from ..model.changes import Change, Write
from ..model.outcome import Outcome
from ..pipeline import Pipeline
from ..plugin import ABSENT
from .dry_run import open_pipeline, write_and_roll_back
from .service import DlqService
from .trace import Trace

OK, STOPPED, FAILED = "ok", "stopped", "FAILED"

_HOOKS = {"sink_filter": "filter", "sink_map": "map", "sink_mask": "mask", "columns": "map"}


class Step(NamedTuple):
    """One step, its state and the reason."""

    name: str
    state: str
    detail: str


@dataclass(slots=True)
class Explained:
    """The steps that the event passed, and the rows that would be written."""

    id: str
    mapping: str
    steps: list[Step] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the target, masked."""

    @property
    def good(self) -> bool:
        return all(step.state != FAILED for step in self.steps)

    @property
    def over(self) -> bool:
        return any(step.state != OK for step in self.steps)

    def add(self, name: str, state: str, detail: str) -> None:
        self.steps.append(Step(name, state, detail))

    def record(self) -> dict[str, Any]:
        steps = [step._asdict() for step in self.steps]
        return {
            "id": self.id,
            "mapping": self.mapping,
            "good": self.good,
            "steps": steps,
            "rows": self.rows,
        }


_NO_EVENT = DecodeError("the record is not a change event")
_SETTLED = {
    REPLAYED: "replayed: it was applied, and its payload deleted",
    DISCARDED: "discarded: it was given up, and its payload deleted",
    SUPERSEDED: "superseded: a newer row of its source row was applied, and its payload deleted",
}


def explain(bench: DlqService, database: str, dead_letter: StoredDeadLetter) -> Explained:
    """Return what would happen to the dead letter if it were replayed now."""
    explained = Explained(f"{database}/{dead_letter.dlq_id}", dead_letter.flow)
    plugin = bench.plugins.get(dead_letter.flow)
    if plugin is None or plugin.mapping is None:
        raise ConfigError(f"mapping {dead_letter.flow!r} is not on: there is no chain to try")
    if dead_letter.status in _SETTLED:
        explained.add("status", STOPPED, _SETTLED[dead_letter.status])
        return explained
    message = bench.payloads.message(dead_letter)
    explained.add(
        "open", OK, f"encrypted with key {dead_letter.key_id!r}, {len(message.value or b'')} bytes"
    )
    trace = Trace()
    with open_pipeline(bench, plugin, trace, of_batch=dead_letter.of_batch) as pipeline:
        decoded = pipeline.decode([message])
        if decoded.dead_letters or message.value is None:
            error = decoded.dead_letters[0].error if decoded.dead_letters else _NO_EVENT
            explained.add("decode", FAILED, text_of(error))
            return explained
        ((_, event),) = decoded.events
        explained.add("decode", OK, f"operation {event.op!r}{_origin(event.origin)}")
        batch = pipeline.transform(decoded)
        _chain(explained, pipeline, trace, batch)
        explained.rows = [_redact(bench, pipeline, change) for change in batch.changes]
        if not explained.over:
            _write(explained, pipeline, trace, batch)
    return explained


def _origin(origin: str | None) -> str:
    return f", written by {origin}" if origin else ""


def _chain(explained: Explained, pipeline: Pipeline, trace: Trace, batch: Batch) -> None:
    """Report the steps from the filter to the lookups."""
    error = batch.dead_letters[0].error if batch.dead_letters else None
    at = None if error is None else _step_of(error, trace)
    for name, text in _steps(pipeline, trace, batch):
        if name == at and error is not None:
            explained.add(name, FAILED, _why(error))
            return
        if name == "origin" and batch.counts[Outcome.ECHO]:
            explained.add(name, STOPPED, "it would only go back to where it came from")
            return
        explained.add(name, OK, text)
        if name == "filter" and batch.counts[Outcome.FILTERED]:
            explained.add(name, STOPPED, "dropped: it changes nothing in the target")
            return
        if name == "map" and batch.counts[Outcome.UNCHANGED]:
            explained.add(name, STOPPED, "no mapped column has changed")
            return


def _steps(pipeline: Pipeline, trace: Trace, batch: Batch) -> Iterator[tuple[str, str]]:
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
    masked = [column.name for column in columns if column.mask is not None]
    more = _answers(trace, "sink_mask")
    yield "mask", (", ".join(masked) or "nothing by policy") + (f"; {more}" if more else "")
    found = [f"{name}: {n} of {of} found" for name, (of, n) in trace.lookups.items()]
    yield "lookup", ", ".join(found) or "nothing is looked up"


def _step_of(error: EventError, trace: Trace) -> str:
    """Return the step that raised the error."""
    if isinstance(error, StepError):
        return _HOOKS.get(error.step, "map")
    if isinstance(error, WaitingError | ExpiredError) or trace.lookups:
        return "lookup"
    if isinstance(error, QualityError):
        return "map" if error.column else "rules"
    return "map"


def _write(explained: Explained, pipeline: Pipeline, trace: Trace, batch: Batch) -> None:
    try:
        written, error = write_and_roll_back(pipeline, batch)
    except SinkError as fault:  # a transient error, or one of the configuration
        explained.add("write", FAILED, f"the mapping would wait or stop: {text_of(fault)}")
        return
    if resolved := _answers(trace, "sink_resolve_conflict"):
        explained.add("resolve", OK, resolved)
    if error is not None:
        explained.add("write", FAILED, _why(error))
    elif written:
        explained.add("write", OK, f"would change {written} rows; rolled back")
    else:
        explained.add("write", OK, "would change nothing: the target holds this, or what is newer")


def _why(error: EventError) -> str:
    state = sqlstate_of(error)
    cause = f" ({describe(error.__cause__, nested=True)})" if error.__cause__ is not None else ""
    return text_of(error) + (f", SQLSTATE {state}" if state else "") + ("" if state else cause)


def _answers(trace: Trace, hook: str) -> str:
    return ", ".join(f"{answer.plugin}: {answer.answer}" for answer in trace.of(hook))


def _redact(bench: DlqService, pipeline: Pipeline, change: Change) -> dict[str, Any]:
    """Return the target row as the principal may see it; values of personal columns are hidden."""
    keyed = pipeline.mapping.derived or pipeline.mapping
    if isinstance(change, Write):
        names: Sequence[str] = [column.name for column in pipeline.compiled.columns]
        values, does = change.values, "write"
    else:
        names, values, does = keyed.key, change.key, type(change.action).__name__.lower()
    row: Mapping[str, Any] = {
        name: value for name, value in zip(names, values, strict=True) if value is not ABSENT
    }
    redactor = bench.access.redactor(pipeline.mapping.target_table, row)
    visible = redactor.row(row, clear=False) or {}
    known = pipeline.compiled.unmasked | redactor.masks.keys()
    hidden = [name for name in visible if name not in known]
    return {"does": does, "row": visible | dict.fromkeys(hidden, HIDDEN)}
