"""The W3C trace context of an event: `traceparent`, in a header of Kafka or HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

TRACEPARENT = "traceparent"
_SAMPLED = 1
# Debezium may write the header's value as JSON, in quotes or with its schema.
_VALUE = re.compile(
    rb"(?<![0-9a-f-])(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?![0-9a-f])"
)


class TraceContext(NamedTuple):
    """A span of another process, which this one continues."""

    trace_id: int
    span_id: int
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def parse_traceparent(value: bytes) -> TraceContext | None:
    """Return the context that a header's value has; None if it is malformed."""
    found = _VALUE.search(value)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(flags & _SAMPLED))


def context_of(headers: Sequence[tuple[str, bytes]]) -> TraceContext | None:
    """Return the context in a record's headers; the last one counts, which is the nearest."""
    value = next((value for name, value in reversed(headers) if name == TRACEPARENT), None)
    return parse_traceparent(value) if value else None
