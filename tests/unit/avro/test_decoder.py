"""Decoding of recorded and of built messages: columns, types and keys."""

import base64

import pytest

from sink_runner.avro import EnvelopeDecoder, KeyDecoder, schema_id_of
from sink_runner.model.envelope import Decoded, Kind
from sink_runner.plugin import ABSENT

from .decoder_schemas import (
    ALL_SOURCE_FIELDS,
    EVENTS,
    FakeRegistry,
    decode_both_ways,
    encode,
    envelope,
    field,
    load_recording,
    values,
)


@pytest.mark.parametrize("name", EVENTS)
def test_compiled_decoder_equals_fastavro_on_recordings(name):
    schemas, messages = load_recording(name)
    for message in values(messages):
        decoder = EnvelopeDecoder(schemas)
        if message is None:
            assert decoder.decode(message) is None
            continue
        columns = decoder.plan(schema_id_of(message)).row.names
        decoder = EnvelopeDecoder(schemas, after=columns, before=columns, source=ALL_SOURCE_FIELDS)
        first, second = decoder.decode_many([message, message])
        assert repr(first) == repr(second)


def test_every_recorded_schema_compiles():
    for name in EVENTS:
        schemas, messages = load_recording(name)
        decoder = EnvelopeDecoder(schemas)
        numbers = {schema_id_of(message) for message in values(messages) if message}
        assert all(decoder.plan(number).quick is not None for number in numbers)


def test_row_has_requested_columns_in_order():
    schemas, messages = load_recording("delete-full-identity")
    decoder = EnvelopeDecoder(schemas, after=("amount", "id"), before=("name",))
    created, deleted, tombstone = decoder.decode_many(values(messages))
    assert (created.op, created.after, created.before) == ("c", (42, 7), None)
    assert (deleted.op, deleted.after, deleted.before) == ("d", None, ("real",))
    assert tombstone is None


def test_image_without_columns_is_empty_tuple():
    schemas, messages = load_recording("delete-full-identity")
    created, deleted, _ = EnvelopeDecoder(schemas).decode_many(values(messages))
    assert (created.after, created.before) == ((), None)
    assert (deleted.after, deleted.before) == (None, ())


def test_column_may_be_requested_twice():
    schema = envelope(field("a", "int"))
    assert decode_both_ways(schema, encode(schema, {"a": 5}), after=("a", "a")).after == (5, 5)


def test_origin_is_that_of_session():
    schemas, messages = load_recording("origin")
    decoded = EnvelopeDecoder(schemas).decode_many(values(messages))
    assert [event.origin for event in decoded] == ["sink/trap/0", None]


def test_unread_source_fields_are_none():
    schema = envelope(field("a", "int"))
    message = encode(schema, {"a": 5})
    complete = decode_both_ways(schema, message, source=ALL_SOURCE_FIELDS)
    assert complete == Decoded(
        "u", (), None, 59487312, 1795223434777, None, "false", tx_id=8, sequence=None
    )
    assert decode_both_ways(schema, message, source=frozenset()) == Decoded(
        "u", (), None, None, None, None, None
    )


def test_column_missing_in_schema_is_absent():
    schemas, messages = load_recording("added-column")
    decoder = EnvelopeDecoder(schemas, after=("id", "grade"))
    assert [event.after for event in decoder.decode_many(values(messages))] == [
        (1, ABSENT),
        (2, 3),
    ]


def test_schema_is_requested_once():
    schemas, messages = load_recording("explicit-null")
    decoder = EnvelopeDecoder(schemas)
    decoder.decode_many(values(messages) * 3)
    decoder.decode_many(values(messages))
    assert schemas.requests == [8]


@pytest.mark.parametrize("wanted", [("a",), ()])
def test_array_in_blocks_with_sizes_is_decoded(wanted):
    schema = envelope(field("a", {"type": "array", "items": "int"}))
    good = encode(schema, {"a": [1, 2, 3]})
    at = good.index(b"\x06\x02\x04\x06\x00")
    # Two items in two bytes, then one without a size.
    message = good[:at] + b"\x03\x04\x02\x04\x02\x06\x00" + good[at + 5 :]
    expected = ([1, 2, 3],) if wanted else ()
    assert decode_both_ways(schema, message, after=wanted).after == expected


def test_union_of_many_branches_is_decoded():
    enums = [{"type": "enum", "name": f"E{i}", "symbols": [f"S{i}"]} for i in range(70)]
    schema = envelope(field("a", ["null", *enums]), field("b", "int"))
    for symbol in ("S3", "S62", "S63", "S69"):
        message = encode(schema, {"a": symbol, "b": 1})
        assert decode_both_ways(schema, message, after=("a", "b")).after == (symbol, 1)
        assert decode_both_ways(schema, message, after=("b",)).after == (1,)


def test_deeply_nested_schema_uses_fastavro():
    kind, deep = "int", 1
    for _ in range(30):
        kind, deep = {"type": "array", "items": kind}, [deep]
    schema = envelope(field("a", kind))
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), after=("a",))
    assert decoder.plan(1).quick is None
    assert decoder.decode(encode(schema, {"a": deep})).after == (deep,)


def test_logical_type_does_not_convert_value():
    schema = envelope(field("a", {"type": "int", "logicalType": "date"}))
    assert decode_both_ways(schema, encode(schema, {"a": 19000}), after=("a",)).after == (19000,)


def test_kinds_of_columns_follow_the_schema():
    schemas, _ = load_recording("kinds")
    columns = EnvelopeDecoder(schemas).plan(30).row.columns
    assert {name: column.kind for name, column in columns.items()} == {
        "id": Kind.INT,
        "at": Kind.TIMESTAMP,
        "zoned": Kind.TIMESTAMP_TZ,
        "day": Kind.DATE,
        "clock": Kind.TIME,
        "amount": Kind.STRING,
        "free": Kind.STRING,
        "ratio": Kind.DOUBLE,
        "flag": Kind.BOOLEAN,
        "document": Kind.JSON,
        "code": Kind.UUID,
        "raw": Kind.STRING,
        "span": Kind.INTERVAL,
        "tags": Kind.ARRAY,
    }
    assert (columns["id"].nullable, columns["at"].nullable) == (False, True)
    assert columns["tags"].item.kind is Kind.STRING


def test_unsupported_type_is_opaque():
    day = {"type": "int", "connect.name": "io.debezium.time.Date"}
    schema = envelope(field("a", day), field("b", ["int", "string"]), field("c", "null"))
    columns = EnvelopeDecoder(FakeRegistry({1: schema})).plan(1).row.columns
    assert {column.kind for column in columns.values()} == {Kind.OPAQUE}
    assert columns["a"].note == "io.debezium.time.Date"


def test_key_has_requested_columns():
    schemas, messages = load_recording("explicit-null")
    decoder = KeyDecoder(schemas, ["id"])
    keys = [decoder.decode(base64.b64decode(message["key"])) for message in messages]
    assert keys == [(1,), (2,), (2,), (1,), (1,)]
    assert schemas.requests == [7]
