"""Placeholders of unchanged TOAST values become absent values."""

import pytest

from sink_runner.avro import EnvelopeDecoder
from sink_runner.errors import DecodeError
from sink_runner.plugin import ABSENT

from .decoder_schemas import (
    FakeRegistry,
    decode_both_ways,
    encode,
    envelope,
    field,
    load_recording,
    values,
)

WITH_PLACEHOLDER = {"connect.parameters": {"unavailable.value.placeholder": "hex:00756e"}}


@pytest.mark.parametrize("name", ["toast-default-identity", "toast-default-placeholder"])
def test_unchanged_toast_column_is_absent(name):
    """With the placeholder of this project's connectors, and with Debezium's default."""
    schemas, messages = load_recording(name)
    decoder = EnvelopeDecoder(schemas, after=("small", "large"))
    updates = decoder.decode_many([values(messages)[1]] * 2)
    assert [event.after for event in updates] == [(2, ABSENT), (2, ABSENT)]


@pytest.mark.parametrize(
    ("kind", "placeholder"),
    [
        ("bytes", b"__debezium_unavailable_value"),
        ("string", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
        ({"type": "array", "items": "string"}, ["__debezium_unavailable_value"]),
        ({"type": "array", "items": "int"}, list(b"__debezium_unavailable_value")),
        ({"type": "array", "items": ["null", "long"]}, list(b"__debezium_unavailable_value")),
        ({"type": "array", "items": "string"}, ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]),
        (
            {"type": "map", "values": "string"},
            {"__debezium_unavailable_value": "__debezium_unavailable_value"},
        ),
    ],
    ids=["bytes", "base64", "texts", "ints", "longs", "uuids", "hstore"],
)
def test_placeholder_of_every_type_is_absent(kind, placeholder):
    schema = envelope(field("id", "int"), field("a", ["null", kind]))
    row = {"id": 1, "a": placeholder}
    wanted = {"after": ("id", "a"), "before": ("a",)}
    update = decode_both_ways(schema, encode(schema, row, row, op="u"), **wanted)
    assert (update.after, update.before) == ((1, ABSENT), (placeholder,))
    for op in "cdr":
        other = decode_both_ways(schema, encode(schema, row, row, op=op), **wanted)
        assert (other.after, other.before) == ((1, placeholder), (placeholder,))


def test_placeholder_counts_only_in_toastable_columns():
    schema = envelope(field("id", "int"), field("a", "string"), field("b", "string"))
    row = {"id": 1, "a": "__debezium_unavailable_value", "b": "__debezium_unavailable_value"}
    message = encode(schema, row, row, op="u")
    event = decode_both_ways(schema, message, after=("id", "a", "b"), toastable=frozenset({"b"}))
    assert event.after == (1, row["a"], ABSENT)
    event = decode_both_ways(schema, message, after=("id", "a", "b"), toastable=frozenset())
    assert event.after == (1, row["a"], row["b"])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "__debezium_unavailable_value"),
        ("string", "un"),
        ("string", "AHVu"),
        ("bytes", b"\0un"),
        ({"type": "array", "items": "int"}, [0, 117, 110]),
    ],
)
def test_schema_placeholder_replaces_default(kind, value):
    """If a schema states its placeholder, Debezium's default is an ordinary value."""
    schema = envelope(field("id", "int"), field("a", ["null", kind])) | WITH_PLACEHOLDER
    row = {"id": 1, "a": value}
    update = decode_both_ways(schema, encode(schema, row, row, op="u"), after=("id", "a"))
    assert (update.after, update.partial) == ((1, value), False)


def test_schema_placeholder_is_absent():
    schema = (
        envelope(field("id", "int"), field("a", "string"), field("b", "string")) | WITH_PLACEHOLDER
    )
    row = {"id": 1, "a": "\0un", "b": "__debezium_unavailable_value"}
    update = decode_both_ways(schema, encode(schema, row, row, op="u"), after=("id", "a", "b"))
    assert (update.after, update.partial) == ((1, ABSENT, row["b"]), True)


def test_configured_placeholder_is_absent():
    schema = envelope(field("id", "int"), field("a", "string"), field("b", "string"))
    row = {"id": 1, "a": "none", "b": "__debezium_unavailable_value"}
    message = encode(schema, row, row, op="u")
    update = decode_both_ways(schema, message, after=("id", "a", "b"), placeholder="none")
    assert update.after == (1, ABSENT, row["b"])


def test_malformed_placeholder_in_schema_is_error():
    parameters = {"connect.parameters": {"unavailable.value.placeholder": "hex:0"}}
    schema = envelope(field("id", "int")) | parameters
    with pytest.raises(DecodeError, match="expected hexadecimal digits"):
        EnvelopeDecoder(FakeRegistry({1: schema})).plan(1)
