"""The trace context is found in every form in which a header carries it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.model.trace_context import TraceContext, context_of, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TEXT = f"00-{TRACE}-{SPAN}-01"
CONTEXT = TraceContext(int(TRACE, 16), int(SPAN, 16), sampled=True)
CONNECT = {"schema": {"type": "string", "optional": False}, "payload": TEXT}


@pytest.mark.parametrize("text", [TEXT, json.dumps(TEXT), json.dumps(CONNECT)])
def test_value_is_found_in_every_encoding(text: str) -> None:
    assert parse_traceparent(text.encode()) == CONTEXT


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True)])
def test_flag_decides_whether_context_is_sampled(flags: str, sampled: bool) -> None:  # noqa: FBT001
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert found is not None
    assert found.sampled is sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        TEXT.upper(),
        TEXT[:-1],
        TEXT + "0",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_malformed_value_is_ignored(text: str) -> None:
    assert parse_traceparent(text.encode()) is None


def test_last_header_counts() -> None:
    other = TEXT.replace(SPAN, "1" * 16).encode()
    headers = [("traceparent", other), ("traceparent", TEXT.encode()), ("other", other)]
    assert context_of(headers) == CONTEXT
    assert context_of([("tracestate", TEXT.encode())]) is None
    assert context_of(()) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_formatted_context_is_parsed_unchanged(trace: int, span: int, sampled: bool) -> None:  # noqa: FBT001
    context = TraceContext(trace, span, sampled)
    assert parse_traceparent(str(context).encode()) == context


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_error(value: bytes) -> None:
    parse_traceparent(value)
