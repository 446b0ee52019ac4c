"""OpenTelemetry spans of the batches of a mapping, and of the traced events in them.

A batch is one trace: a span for the whole, with spans for fetch, decode, transform, each lookup,
write and commit.  It is linked to the contexts of its sampled events.  Each of these also gets a
span in its own trace, so that a trace that began in an application ends with the target's commit.
The spans are made after the commit, from the times that were noted.  No attribute is a value of a
row or a key.

Names follow OpenTelemetry's semantic conventions for messaging and databases; what is in none of
them begins with ``sink.``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from ..error_text import describe
from ..errors import class_name
from ..model.batch import Batch
from ..model.message import Message
from ..model.trace_context import TraceContext, context_of
from ..plugin import TableMapping
from ..transform.hook_calls import Step
from ..transform.lookup_step import Resolver
from ..transform.steps import Chain

_MOST_EVENTS = 128
"""As many links as a span may have by default."""
_NANO = 1_000_000_000

Attributes = Mapping[str, str | int | float | Sequence[str]]


class Lookup(NamedTuple):
    """One query of a lookup, with its times by the monotonic clock."""

    column: str
    values: int
    started: float
    ended: float


@dataclass(slots=True)
class Begun:
    """What is noted of a batch until its commit."""

    partitions: Mapping[int, tuple[int, int]]
    """The first and the last offset of each partition."""
    events: Sequence[tuple[Message, TraceContext]]
    """The sampled events."""
    lookups: Sequence[Lookup]
    hooks: Mapping[str, tuple[int, float]]
    """How often each hook of each plugin was called, and for how many seconds altogether."""


@dataclass(slots=True)
class MappingTraces:
    """Notes what a mapping's batches do, and makes their spans."""

    tracer: Tracer
    name: str
    mapping: TableMapping
    _lookups: list[Lookup] = field(default_factory=list)
    _hooks: dict[str, tuple[int, float]] = field(
        default_factory=lambda: defaultdict(lambda: (0, 0.0))
    )

    # -- in the thread that reads ----------------------------------------------------------------

    def trace_steps(self, chain: Chain) -> Chain:
        """Return the chain with filters, maps and masks that note their time."""
        return replace(
            chain,
            filters=self._timed("sink_filter", chain.filters),
            maps=self._timed("sink_map", chain.maps),
            masks=self._timed("sink_mask", chain.masks),
        )

    def _timed(self, hook: str, steps: Iterable[Step]) -> tuple[Step, ...]:
        return tuple(
            Step(self._time(f"{hook}.{step.plugin}", step.call), step.plugin) for step in steps
        )

    def _time(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            started = time.monotonic()
            try:
                return function(*arguments)
            finally:
                calls, seconds = self._hooks[name]
                self._hooks[name] = calls + 1, seconds + time.monotonic() - started

        return call

    def trace_lookups(self, resolve: Resolver) -> Resolver:
        """Return a resolver that notes the time of each query."""

        def resolved(column: str, values: set[Any]) -> Mapping[Any, Any]:
            started = time.monotonic()
            try:
                return resolve(column, values)
            finally:
                self._lookups.append(Lookup(column, len(values), started, time.monotonic()))

        return resolved

    def forget(self) -> None:
        """Forget what was noted of a batch that is not traced."""
        self._lookups, self._hooks = [], defaultdict(lambda: (0, 0.0))

    def begin(self, records: Mapping[int, Sequence[Message]]) -> Begun:
        """Return what is noted of the batch that was transformed last."""
        found = (
            (message, context)
            for part in records.values()
            for message in part
            if message.headers and (context := context_of(message.headers)) and context.sampled
        )
        events = [event for event, _ in zip(found, range(_MOST_EVENTS), strict=False)]
        partitions = {at: (part[0].offset, part[-1].offset) for at, part in records.items()}
        begun = Begun(partitions, events, self._lookups, self._hooks)
        self.forget()
        return begun

    # -- in the thread that writes ---------------------------------------------------------------

    def end(
        self,
        batch: Batch,
        started: float,
        counts: Mapping[str, int],
        fault: BaseException | None = None,
    ) -> None:
        """Make the spans of a batch whose write `started` at this monotonic time, and ended now."""
        begun, clock = batch.trace, _Clock()
        if begun is None:
            return
        parts = _parts(batch, begun, started, clock)
        first = min(part.start for part in parts)
        whole = self.tracer.start_span(
            f"process {self.mapping.source_table.topic}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=self._describe(begun, batch.read, counts),
            links=[Link(_remote(context)) for _, context in begun.events],
            start_time=first,
        )
        _set_fault(whole, fault)
        inside = set_span_in_context(whole, Context())
        for part in parts:
            self.tracer.start_span(
                part.name, context=inside, attributes=part.attributes, start_time=part.start
            ).end(part.end)
        self._end_events(batch, begun, whole.get_span_context(), (first, clock.now), fault)
        whole.end(clock.now)

    def _describe(self, begun: Begun, read: int, counts: Mapping[str, int]) -> Attributes:
        target = self.mapping.target_table
        offsets = [f"{at}:{first}-{last}" for at, (first, last) in sorted(begun.partitions.items())]
        return {
            **self._operation,
            "messaging.batch.message_count": read,
            "db.system.name": "postgresql",
            "db.namespace": target.database,
            "db.collection.name": f"{target.schema}.{target.name}",
            "sink.offsets": offsets,
            **{f"sink.events.{outcome}": count for outcome, count in counts.items() if count},
        }

    @property
    def _operation(self) -> dict[str, str]:
        return {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self.mapping.source_table.topic,
            "messaging.consumer.group.name": f"sink.{self.name}",
            "sink.mapping": self.name,
        }

    def _end_events(
        self,
        batch: Batch,
        begun: Begun,
        whole: SpanContext,
        times: tuple[int, int],
        fault: BaseException | None,
    ) -> None:
        """Make the span of each sampled event, in the event's own trace."""
        dead = {id(one.message): one.error for one in batch.dead_letters}
        for message, context in begun.events:
            error = dead.get(id(message))
            span = self.tracer.start_span(
                f"process {message.topic}",
                context=set_span_in_context(NonRecordingSpan(_remote(context)), Context()),
                kind=SpanKind.CONSUMER,
                attributes={
                    **self._operation,
                    "messaging.destination.partition.id": str(message.partition),
                    "messaging.kafka.offset": message.offset,
                    "sink.outcome": "failed" if fault else "dead" if error else "committed",
                },
                links=[Link(whole)],
                start_time=times[0],
            )
            if error:
                span.set_status(Status(StatusCode.ERROR, class_name(error)))
            _set_fault(span, fault)
            span.end(times[1])


class _Part(NamedTuple):
    """A span inside that of a batch; times in nanoseconds since 1970."""

    name: str
    start: int
    end: int
    attributes: Attributes


class _Clock:
    """Converts times of this moment's monotonic clock."""

    def __init__(self) -> None:
        self.now, self._monotonic = time.time_ns(), time.monotonic()

    def at(self, monotonic: float) -> int:
        return self.now - int((self._monotonic - monotonic) * _NANO)


def _parts(batch: Batch, begun: Begun, started: float, clock: _Clock) -> list[_Part]:
    seconds = batch.seconds
    parts = []
    if "fetch" in seconds and batch.taken is not None:
        taken = int(batch.taken * _NANO)
        parts.append(_Part("fetch", taken - int(seconds["fetch"] * _NANO), taken, {}))
    decoded = batch.began + seconds["decode"]
    hooks: dict[str, float] = {}
    for name, (calls, spent) in begun.hooks.items():
        hooks |= {f"sink.{name}.calls": calls, f"sink.{name}.seconds": spent}
    parts += [
        _Part("decode", clock.at(batch.began), clock.at(decoded), {}),
        _Part("transform", clock.at(decoded), clock.at(decoded + seconds["transform"]), hooks),
    ]
    parts += [
        _Part(
            "lookup",
            clock.at(one.started),
            clock.at(one.ended),
            {"sink.column": one.column, "sink.values": one.values},
        )
        for one in begun.lookups
    ]
    committing = clock.now - int(seconds.get("commit", 0.0) * _NANO)
    parts.append(_Part("write", clock.at(started), committing, {}))
    if "commit" in seconds:
        parts.append(_Part("commit", committing, clock.now, {}))
    return parts


def _remote(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags)


def _set_fault(span: Span, fault: BaseException | None) -> None:
    if fault is not None:
        span.set_status(Status(StatusCode.ERROR, describe(fault)))
