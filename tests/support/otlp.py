"""Decode the spans that an OTLP receiver got."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .http_receiver import Receiver


class SentSpan(NamedTuple):
    """One span; ids are hexadecimal, as in a `traceparent`."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    links: Sequence[tuple[str, str]]
    error: str | None
    """The description of the status ERROR; None for another status."""


def spans_of(receiver: Receiver) -> list[SentSpan]:
    """Return the spans of all requests, which arrived before."""
    found = []
    for posted in receiver.all():
        assert posted.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(posted.body)
        for resource in request.resource_spans:
            assert _attributes(resource.resource)["service.name"] == "sink-runner"
            found += [_span(span) for scope in resource.scope_spans for span in scope.spans]
    return found


def _span(span: Any) -> SentSpan:
    return SentSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
    )


def _attributes(holder: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in holder.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
