"""Decoding of what Debezium really wrote, and of what no Debezium would."""

import base64
import json
from io import BytesIO
from pathlib import Path

import fastavro
import pytest

from sink_runner.avro import EnvelopeDecoder, KeyDecoder, schema_id_of
from sink_runner.errors import DecodeError, RetriableError
from sink_runner.model.envelope import Decoded, Kind
from sink_runner.plugin import ABSENT

FOLDER = Path(__file__).parents[2] / "fixtures" / "debezium"
OTHERS = ("heartbeat-smart_citizen", "heartbeat-smart_warehouse", "transaction")
EVENTS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem not in OTHERS)
EVERYTHING = frozenset(("lsn", "ts_ms", "origin", "snapshot", "tx_id", "sequence"))


class Schemas:
    """A registry that holds some schemas, and records the requests."""

    def __init__(self, schemas):
        self.schemas = schemas
        self.requests = []

    def schema(self, schema_id):
        self.requests.append(schema_id)
        if schema_id not in self.schemas:
            raise DecodeError(f"the schema registry does not know schema {schema_id}")
        return self.schemas[schema_id]


def recorded(name):
    recording = json.loads((FOLDER / f"{name}.json").read_text())
    schemas = Schemas({int(number): text for number, text in recording["schemas"].items()})
    return schemas, recording["messages"]


def values(messages):
    return [message["value"] and base64.b64decode(message["value"]) for message in messages]


def envelope(*fields, **others):
    row = {"type": "record", "name": "Value", "fields": list(fields), **others}
    source = {
        "type": "record",
        "name": "Source",
        "namespace": "io.debezium.connector.postgresql",
        "fields": [
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "type": ["string", "null"]},
            {"name": "txId", "type": ["null", "long"]},
            {"name": "lsn", "type": ["null", "long"]},
            {"name": "origin", "type": ["null", "string"]},
        ],
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": "db.public.t",
        "fields": [
            {"name": "before", "type": ["null", row]},
            {"name": "after", "type": ["null", "Value"]},
            {"name": "source", "type": source},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"]},
        ],
    }


SOURCE = {"ts_ms": 1795223434777, "snapshot": "false", "txId": 8, "lsn": 59487312, "origin": None}


def encoded(schema, after, before=None, schema_id=1, op="u"):
    message = BytesIO()
    message.write(b"\0" + schema_id.to_bytes(4, "big"))
    event = {"before": before, "after": after, "source": SOURCE, "op": op, "ts_ms": None}
    fastavro.schemaless_writer(message, fastavro.parse_schema(schema), event)
    return message.getvalue()


def field(name, kind):
    return {"name": name, "type": kind}


def both_ways(schema, message, **wanted):
    """Decode with fastavro (a schema's first message) and with the compiled decoder."""
    decoder = EnvelopeDecoder(Schemas({1: schema}), **wanted)
    first, second = decoder.decode_many([message, message])
    assert repr(first) == repr(second)
    return second


@pytest.mark.parametrize("name", EVENTS)
def test_recorded_messages_decode_as_fastavro_decodes_them(name):
    schemas, messages = recorded(name)
    for message in values(messages):
        decoder = EnvelopeDecoder(schemas)
        if message is None:
            assert decoder.decode(message) is None
            continue
        columns = decoder.plan(schema_id_of(message)).row.names
        decoder = EnvelopeDecoder(schemas, after=columns, before=columns, source=EVERYTHING)
        by_fastavro, compiled = decoder.decode_many([message, message])
        assert repr(by_fastavro) == repr(compiled)


def test_every_recorded_schema_compiles():
    for name in EVENTS:
        schemas, messages = recorded(name)
        decoder = EnvelopeDecoder(schemas)
        numbers = {schema_id_of(message) for message in values(messages) if message}
        assert all(decoder.plan(number).quick is not None for number in numbers)


def test_row_has_wanted_columns_in_wanted_order():
    schemas, messages = recorded("delete-full-identity")
    decoder = EnvelopeDecoder(schemas, after=("amount", "id"), before=("name",))
    created, deleted, tombstone = decoder.decode_many(values(messages))
    assert (created.op, created.after, created.before) == ("c", (42, 7), None)
    assert (deleted.op, deleted.after, deleted.before) == ("d", None, ("real",))
    assert tombstone is None


def test_unread_side_still_shows_its_presence():
    schemas, messages = recorded("delete-full-identity")
    created, deleted, _ = EnvelopeDecoder(schemas).decode_many(values(messages))
    assert (created.after, created.before) == ((), None)
    assert (deleted.after, deleted.before) == (None, ())


def test_a_column_may_be_wanted_twice():
    schema = envelope(field("a", "int"))
    assert both_ways(schema, encoded(schema, {"a": 5}), after=("a", "a")).after == (5, 5)


def test_origin_of_change_is_session():
    schemas, messages = recorded("origin")
    decoded = EnvelopeDecoder(schemas).decode_many(values(messages))
    assert [event.origin for event in decoded] == ["sink/trap/0", None]


def test_unread_source_fields_are_none():
    schema = envelope(field("a", "int"))
    message = encoded(schema, {"a": 5})
    whole = both_ways(schema, message, source=EVERYTHING)
    assert whole == Decoded(
        "u", (), None, 59487312, 1795223434777, None, "false", tx_id=8, sequence=None
    )
    assert both_ways(schema, message, source=frozenset()) == Decoded(
        "u", (), None, None, None, None, None
    )


def test_column_missing_in_schema_is_absent():
    schemas, messages = recorded("added-column")
    decoder = EnvelopeDecoder(schemas, after=("id", "grade"))
    assert [event.after for event in decoder.decode_many(values(messages))] == [
        (1, ABSENT),
        (2, 3),
    ]


@pytest.mark.parametrize("name", ["toast-default-identity", "toast-default-placeholder"])
def test_an_unchanged_toasted_column_is_absent(name):
    """As capture writes it, and as Debezium does without capture's properties."""
    schemas, messages = recorded(name)
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
def test_every_form_of_an_unavailable_value_is_absent(kind, placeholder):
    schema = envelope(field("id", "int"), field("a", ["null", kind]))
    row = {"id": 1, "a": placeholder}
    wanted = {"after": ("id", "a"), "before": ("a",)}
    update = both_ways(schema, encoded(schema, row, row, op="u"), **wanted)
    assert (update.after, update.before) == ((1, ABSENT), (placeholder,))
    for op in "cdr":
        other = both_ways(schema, encoded(schema, row, row, op=op), **wanted)
        assert (other.after, other.before) == ((1, placeholder), (placeholder,))


def test_placeholder_counts_only_where_toast_can_be():
    schema = envelope(field("id", "int"), field("a", "string"), field("b", "string"))
    row = {"id": 1, "a": "__debezium_unavailable_value", "b": "__debezium_unavailable_value"}
    message = encoded(schema, row, row, op="u")
    event = both_ways(schema, message, after=("id", "a", "b"), toastable=frozenset({"b"}))
    assert event.after == (1, row["a"], ABSENT)
    event = both_ways(schema, message, after=("id", "a", "b"), toastable=frozenset())
    assert event.after == (1, row["a"], row["b"])


STATED = {"connect.parameters": {"unavailable.value.placeholder": "hex:00756e"}}


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
def test_placeholder_of_the_schema_is_the_only_one(kind, value):
    """Events of capture's transform: the default placeholder is what a person typed."""
    schema = envelope(field("id", "int"), field("a", ["null", kind])) | STATED
    row = {"id": 1, "a": value}
    update = both_ways(schema, encoded(schema, row, row, op="u"), after=("id", "a"))
    assert (update.after, update.partial) == ((1, value), False)


def test_placeholder_of_the_schema_is_absent():
    schema = envelope(field("id", "int"), field("a", "string"), field("b", "string")) | STATED
    row = {"id": 1, "a": "\0un", "b": "__debezium_unavailable_value"}
    update = both_ways(schema, encoded(schema, row, row, op="u"), after=("id", "a", "b"))
    assert (update.after, update.partial) == ((1, ABSENT, row["b"]), True)


def test_placeholder_of_setting_counts_without_schemas_word():
    schema = envelope(field("id", "int"), field("a", "string"), field("b", "string"))
    row = {"id": 1, "a": "none", "b": "__debezium_unavailable_value"}
    message = encoded(schema, row, row, op="u")
    update = both_ways(schema, message, after=("id", "a", "b"), placeholder="none")
    assert update.after == (1, ABSENT, row["b"])


def test_malformed_placeholder_in_a_schema_is_an_error():
    parameters = {"connect.parameters": {"unavailable.value.placeholder": "hex:0"}}
    schema = envelope(field("id", "int")) | parameters
    with pytest.raises(DecodeError, match="expected hexadecimal digits"):
        EnvelopeDecoder(Schemas({1: schema})).plan(1)


@pytest.mark.parametrize("name", OTHERS)
def test_other_record_is_decode_error(name):
    """They have topics of their own: on a table's, the schema's id was corrupted."""
    schemas, messages = recorded(name)
    decoded = EnvelopeDecoder(schemas, after=("id",)).decode_many(values(messages))
    assert decoded
    for fault in decoded:
        assert isinstance(fault, DecodeError)
        assert "is not a Debezium envelope" in str(fault)


def test_schema_is_requested_once():
    schemas, messages = recorded("explicit-null")
    decoder = EnvelopeDecoder(schemas)
    decoder.decode_many(values(messages) * 3)
    decoder.decode_many(values(messages))
    assert schemas.requests == [8]


def test_bad_message_fails_alone():
    schema = envelope(field("a", "string"))
    good = encoded(schema, {"a": "text"})
    bad = [
        b"",
        b"\0\0",
        b"\1" + good[1:],
        good[:-1],
        good + b"\0",
        encoded(schema, {"a": "x"}, None, 9),
    ]
    decoder = EnvelopeDecoder(Schemas({1: schema}), after=("a",))
    for _ in range(2):
        results = decoder.decode_many([good, *bad, good])
        assert [type(result) for result in results] == [Decoded, *[DecodeError] * len(bad), Decoded]


def test_unknown_schema_is_fetched_once_a_batch():
    schemas = Schemas({})
    message = encoded(envelope(field("a", "int")), {"a": 1}, None, 9)
    decoder = EnvelopeDecoder(schemas)
    assert "schema 9" in str(decoder.decode_many([message] * 5)[4])
    assert schemas.requests == [9]
    schemas.schemas[9] = envelope(field("a", "int"))
    assert decoder.decode(message).op == "u"


def test_silent_registry_fails_the_batch():
    class Silent:
        def schema(self, _schema_id):
            raise RetriableError("the schema registry does not answer")

    with pytest.raises(RetriableError):
        EnvelopeDecoder(Silent()).decode_many([b"\0\0\0\0\1"])


def test_an_error_quotes_nothing_of_the_message():
    schema = envelope(field("a", "string"))
    message = encoded(schema, {"a": "secret"}).replace(b"secret", b"secre\xff")
    decoder = EnvelopeDecoder(Schemas({1: schema}), after=("a",))
    for error in decoder.decode_many([message] * 2):
        assert str(error) == "the bytes do not fit the schema: UnicodeDecodeError"
        assert error.__cause__ is None
        assert error.__traceback__ is None


@pytest.mark.parametrize("size", [2**31, 2**40, 2**62, -1, -(2**40)])
@pytest.mark.parametrize("wanted", [("a",), ()])
def test_impossible_length_is_refused_without_allocation(size, wanted):
    schema = envelope(field("a", "string"))
    good = encoded(schema, {"a": "0123456789"})
    at = good.index(b"\x140123456789")
    message = good[:at] + zigzag(size) + good[at + 1 :]
    decoder = EnvelopeDecoder(Schemas({1: schema}), after=wanted)
    for error in decoder.decode_many([message] * 2):
        assert isinstance(error, DecodeError)


@pytest.mark.parametrize("wanted", [("a",), ()])
def test_array_may_come_in_blocks_with_their_size(wanted):
    schema = envelope(field("a", {"type": "array", "items": "int"}))
    good = encoded(schema, {"a": [1, 2, 3]})
    at = good.index(b"\x06\x02\x04\x06\x00")
    # Two items in two bytes, then one without a size.
    message = good[:at] + b"\x03\x04\x02\x04\x02\x06\x00" + good[at + 5 :]
    expected = ([1, 2, 3],) if wanted else ()
    assert both_ways(schema, message, after=wanted).after == expected


@pytest.mark.parametrize("count", [2**31, 2**62, -(2**40)])
def test_an_array_of_more_items_than_bytes_ends(count):
    schema = envelope(field("a", {"type": "array", "items": "int"}))
    good = encoded(schema, {"a": [1, 2, 3]})
    at = good.index(b"\x06\x02\x04\x06\x00")
    message = good[:at] + zigzag(count) + good[at + 1 :]
    decoder = EnvelopeDecoder(Schemas({1: schema}), after=("a",))
    for error in decoder.decode_many([message] * 2):
        assert isinstance(error, DecodeError)


def test_union_of_many_branches_is_read():
    enums = [{"type": "enum", "name": f"E{i}", "symbols": [f"S{i}"]} for i in range(70)]
    schema = envelope(field("a", ["null", *enums]), field("b", "int"))
    for symbol in ("S3", "S62", "S63", "S69"):
        message = encoded(schema, {"a": symbol, "b": 1})
        assert both_ways(schema, message, after=("a", "b")).after == (symbol, 1)
        assert both_ways(schema, message, after=("b",)).after == (1,)


def test_endless_array_is_refused():
    schema = envelope(field("a", {"type": "array", "items": "null"}))
    with pytest.raises(DecodeError, match="without width"):
        EnvelopeDecoder(Schemas({1: schema})).decode(b"\0\0\0\0\1")


def test_a_type_that_contains_itself_is_refused():
    chain = {"type": "record", "name": "Chain", "fields": [field("next", ["null", "Chain"])]}
    with pytest.raises(DecodeError, match="contains itself"):
        EnvelopeDecoder(Schemas({1: envelope(field("a", chain))})).decode(b"\0\0\0\0\1")


def test_too_deep_schema_is_left_to_fastavro():
    kind, deep = "int", 1
    for _ in range(30):
        kind, deep = {"type": "array", "items": kind}, [deep]
    schema = envelope(field("a", kind))
    decoder = EnvelopeDecoder(Schemas({1: schema}), after=("a",))
    assert decoder.plan(1).quick is None
    assert decoder.decode(encoded(schema, {"a": deep})).after == (deep,)


def test_schema_that_is_not_avro_is_message_fault():
    for schema in ({"type": "nonsense"}, {"type": "record", "fields": []}, "Unknown", 7, {}):
        with pytest.raises(DecodeError):
            EnvelopeDecoder(Schemas({1: schema})).decode(b"\0\0\0\0\1")


def test_logical_type_leaves_value_as_it_was_written():
    schema = envelope(field("a", {"type": "int", "logicalType": "date"}))
    assert both_ways(schema, encoded(schema, {"a": 19000}), after=("a",)).after == (19000,)


def test_columns_are_known_by_what_they_mean():
    schemas, _ = recorded("kinds")
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


def test_a_form_written_with_other_settings_is_opaque():
    day = {"type": "int", "connect.name": "io.debezium.time.Date"}
    schema = envelope(field("a", day), field("b", ["int", "string"]), field("c", "null"))
    columns = EnvelopeDecoder(Schemas({1: schema})).plan(1).row.columns
    assert {column.kind for column in columns.values()} == {Kind.OPAQUE}
    assert columns["a"].note == "io.debezium.time.Date"


def test_a_key_gives_its_columns_by_name():
    schemas, messages = recorded("explicit-null")
    decoder = KeyDecoder(schemas, ["id"])
    keys = [decoder.decode(base64.b64decode(message["key"])) for message in messages]
    assert keys == [(1,), (2,), (2,), (1,), (1,)]
    assert schemas.requests == [7]


def test_key_that_cannot_be_read_is_error():
    schemas, messages = recorded("explicit-null")
    key = base64.b64decode(messages[0]["key"])
    decoder = KeyDecoder(schemas, ["id"])
    for bad in (None, b"", key[:-1], key + b"\0"):
        with pytest.raises(DecodeError):
            decoder.decode(bad)
    with pytest.raises(DecodeError, match="lacks name"):
        KeyDecoder(schemas, ["name"]).decode(key)


def zigzag(number):
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number >= 0x80:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
