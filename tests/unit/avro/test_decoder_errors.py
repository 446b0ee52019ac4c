"""Messages and schemas that cannot be decoded."""

import base64

import pytest

from sink_runner.avro import EnvelopeDecoder, KeyDecoder
from sink_runner.errors import DecodeError, RetriableError
from sink_runner.model.envelope import Decoded

from .decoder_schemas import (
    OTHER_RECORDS,
    FakeRegistry,
    encode,
    envelope,
    field,
    load_recording,
    values,
    zigzag,
)


@pytest.mark.parametrize("name", OTHER_RECORDS)
def test_other_record_is_decode_error(name):
    """They have other topics; in the topic of a table, the schema id is wrong."""
    schemas, messages = load_recording(name)
    decoded = EnvelopeDecoder(schemas, after=("id",)).decode_many(values(messages))
    assert decoded
    for error in decoded:
        assert isinstance(error, DecodeError)
        assert "is not a Debezium envelope" in str(error)


def test_bad_message_does_not_fail_others():
    schema = envelope(field("a", "string"))
    good = encode(schema, {"a": "text"})
    bad = [
        b"",
        b"\0\0",
        b"\1" + good[1:],
        good[:-1],
        good + b"\0",
        encode(schema, {"a": "x"}, None, 9),
    ]
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), after=("a",))
    for _ in range(2):
        results = decoder.decode_many([good, *bad, good])
        assert [type(result) for result in results] == [Decoded, *[DecodeError] * len(bad), Decoded]


def test_unknown_schema_is_requested_once_for_batch():
    schemas = FakeRegistry({})
    message = encode(envelope(field("a", "int")), {"a": 1}, None, 9)
    decoder = EnvelopeDecoder(schemas)
    assert "schema 9" in str(decoder.decode_many([message] * 5)[4])
    assert schemas.requests == [9]
    schemas.schemas[9] = envelope(field("a", "int"))
    assert decoder.decode(message).op == "u"


def test_unavailable_registry_fails_batch():
    class UnavailableRegistry:
        def schema(self, _schema_id):
            raise RetriableError("the schema registry does not answer")

    with pytest.raises(RetriableError):
        EnvelopeDecoder(UnavailableRegistry()).decode_many([b"\0\0\0\0\1"])


def test_error_quotes_nothing_of_message():
    schema = envelope(field("a", "string"))
    message = encode(schema, {"a": "secret"}).replace(b"secret", b"secre\xff")
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), after=("a",))
    for error in decoder.decode_many([message] * 2):
        assert str(error) == "the bytes do not fit the schema: UnicodeDecodeError"
        assert error.__cause__ is None
        assert error.__traceback__ is None


@pytest.mark.parametrize("size", [2**31, 2**40, 2**62, -1, -(2**40)])
@pytest.mark.parametrize("wanted", [("a",), ()])
def test_impossible_length_is_refused_without_allocation(size, wanted):
    schema = envelope(field("a", "string"))
    good = encode(schema, {"a": "0123456789"})
    at = good.index(b"\x140123456789")
    message = good[:at] + zigzag(size) + good[at + 1 :]
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), after=wanted)
    for error in decoder.decode_many([message] * 2):
        assert isinstance(error, DecodeError)


@pytest.mark.parametrize("count", [2**31, 2**62, -(2**40)])
def test_array_longer_than_message_is_refused(count):
    schema = envelope(field("a", {"type": "array", "items": "int"}))
    good = encode(schema, {"a": [1, 2, 3]})
    at = good.index(b"\x06\x02\x04\x06\x00")
    message = good[:at] + zigzag(count) + good[at + 1 :]
    decoder = EnvelopeDecoder(FakeRegistry({1: schema}), after=("a",))
    for error in decoder.decode_many([message] * 2):
        assert isinstance(error, DecodeError)


def test_array_of_nulls_is_refused():
    schema = envelope(field("a", {"type": "array", "items": "null"}))
    with pytest.raises(DecodeError, match="without width"):
        EnvelopeDecoder(FakeRegistry({1: schema})).decode(b"\0\0\0\0\1")


def test_recursive_type_is_refused():
    chain = {"type": "record", "name": "Chain", "fields": [field("next", ["null", "Chain"])]}
    with pytest.raises(DecodeError, match="contains itself"):
        EnvelopeDecoder(FakeRegistry({1: envelope(field("a", chain))})).decode(b"\0\0\0\0\1")


def test_invalid_schema_is_decode_error():
    for schema in ({"type": "nonsense"}, {"type": "record", "fields": []}, "Unknown", 7, {}):
        with pytest.raises(DecodeError):
            EnvelopeDecoder(FakeRegistry({1: schema})).decode(b"\0\0\0\0\1")


def test_invalid_key_is_decode_error():
    schemas, messages = load_recording("explicit-null")
    key = base64.b64decode(messages[0]["key"])
    decoder = KeyDecoder(schemas, ["id"])
    for bad in (None, b"", key[:-1], key + b"\0"):
        with pytest.raises(DecodeError):
            decoder.decode(bad)
    with pytest.raises(DecodeError, match="lacks name"):
        KeyDecoder(schemas, ["name"]).decode(key)
