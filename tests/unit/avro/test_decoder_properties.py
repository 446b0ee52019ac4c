"""The compiled decoder against fastavro, on generated schemas, rows and damaged messages."""

import math
import struct
from io import BytesIO

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.avro import EnvelopeDecoder
from sink_runner.avro.code_writer import pattern
from sink_runner.avro.schema import parse
from sink_runner.errors import DecodeError
from sink_runner.model.envelope import Decoded
from sink_runner.plugin import ABSENT

HEADER = b"\0\0\0\0\1"
LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200)
# Any error of fastavro: with the runner's list, a test would not find an error missing in it.
ANY_ERROR = Exception

PRIMITIVES = st.sampled_from(
    [
        ("null", st.none()),
        ("boolean", st.booleans()),
        ("int", st.integers(-(2**31), 2**31 - 1)),
        ("long", LONGS),
        ("double", st.floats(allow_nan=False)),
        ("float", st.floats(width=32, allow_nan=False)),
        ("string", st.text(max_size=80)),
        ("bytes", st.binary(max_size=80)),
    ]
)
PRIMITIVES_WITH_WIDTH = PRIMITIVES.filter(lambda pair: pair[0] != "null")


class Names:
    """Returns unique names for the types of one schema."""

    def __init__(self):
        self.count = 0

    def fresh(self):
        self.count += 1
        return f"N{self.count}"


def types(names, depth=2):
    """Return a strategy of pairs: an Avro type and a strategy of its values."""
    simple = st.one_of(PRIMITIVES, annotated(), optional(), enums(names), fixeds(names))
    if not depth:
        return simple
    part = st.deferred(lambda: types(names, depth - 1))
    return st.one_of(
        simple,
        part.filter(has_width).map(
            lambda pair: ({"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=4))
        ),
        part.map(
            lambda pair: (
                {"type": "map", "values": pair[0]},
                st.dictionaries(st.text(max_size=5), pair[1], max_size=3),
            )
        ),
        records(names, depth - 1),
        records(names, depth - 1).map(
            lambda pair: (
                ["null", "boolean", "string", pair[0]],
                st.none() | st.booleans() | st.text(max_size=9) | pair[1],
            )
        ),
    )


def annotated():
    return PRIMITIVES_WITH_WIDTH.map(
        lambda pair: ({"type": pair[0], "connect.name": "x.Y"}, pair[1])
    )


def optional():
    return st.one_of(
        PRIMITIVES_WITH_WIDTH.map(lambda pair: (["null", pair[0]], st.none() | pair[1])),
        PRIMITIVES_WITH_WIDTH.map(lambda pair: ([{"type": pair[0]}, "null"], st.none() | pair[1])),
    )


@st.composite
def enums(draw, names):
    symbols = [f"S{i}" for i in range(draw(st.sampled_from([1, 2, 5, 63, 64, 65, 70])))]
    kind = {"type": "enum", "name": names.fresh(), "symbols": symbols}
    return kind, st.sampled_from(symbols)


@st.composite
def fixeds(draw, names):
    size = draw(st.integers(1, 20))
    kind = {"type": "fixed", "name": names.fresh(), "size": size}
    return kind, st.binary(min_size=size, max_size=size)


def has_width(pair):
    kind, _ = pair
    return kind != "null" and not (isinstance(kind, dict) and kind["type"] == "record")


@st.composite
def records(draw, names, depth):
    fields = draw(st.lists(types(names, depth), min_size=1, max_size=3))
    kind = {
        "type": "record",
        "name": names.fresh(),
        "fields": [{"name": f"f{i}", "type": part} for i, (part, _) in enumerate(fields)],
    }
    return kind, st.fixed_dictionaries({f"f{i}": values for i, (_, values) in enumerate(fields)})


@st.composite
def events(draw):
    """Draw a schema of a Debezium envelope, a message and the requested columns."""
    names = Names()
    columns = draw(st.lists(types(names), min_size=1, max_size=6))
    row = {
        "type": "record",
        "name": "Value",
        "fields": [{"name": f"c{i}", "type": kind} for i, (kind, _) in enumerate(columns)],
    }
    rows = st.none() | st.fixed_dictionaries(
        {f"c{i}": values for i, (_, values) in enumerate(columns)}
    )
    schema = envelope(row, nulls_last=draw(st.booleans()))
    event = {
        "before": draw(rows),
        "after": draw(rows),
        "source": {
            "version": draw(st.text(max_size=70)),
            "ts_ms": draw(LONGS),
            "snapshot": draw(st.sampled_from([None, "true", "false"])),
            "txId": draw(st.none() | LONGS),
            "lsn": draw(st.none() | LONGS),
            "origin": draw(st.none() | st.text(max_size=70)),
        },
        "transaction": draw(
            st.none() | st.fixed_dictionaries({"id": st.text(max_size=9), "total_order": LONGS})
        ),
        "op": draw(st.sampled_from("crud")),
        "ts_ms": draw(st.none() | LONGS),
    }
    wanted = st.lists(st.sampled_from([*(f"c{i}" for i in range(len(columns))), "no"]), max_size=7)
    return schema, event, tuple(draw(wanted)), tuple(draw(wanted))


def envelope(row, *, nulls_last):
    def nullable(kind):
        return [kind, "null"] if nulls_last else ["null", kind]

    source = [
        ("version", "string"),
        ("ts_ms", "long"),
        ("snapshot", [{"type": "string", "connect.default": "false"}, "null"]),
        ("txId", ["null", "long"]),
        ("lsn", ["null", "long"]),
        ("origin", ["null", "string"]),
    ]
    block = {
        "type": "record",
        "name": "block",
        "namespace": "event",
        "fields": [{"name": "id", "type": "string"}, {"name": "total_order", "type": "long"}],
    }
    fields = [
        ("before", nullable(row)),
        ("after", nullable("Value")),
        (
            "source",
            {
                "type": "record",
                "name": "Source",
                "fields": [{"name": n, "type": t} for n, t in source],
            },
        ),
        ("transaction", nullable(block)),
        ("op", "string"),
        ("ts_ms", ["null", "long"]),
    ]
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": "db.public.t",
        "fields": [{"name": name, "type": kind} for name, kind in fields],
    }


def encoded(schema, event):
    message = BytesIO()
    message.write(HEADER)
    fastavro.schemaless_writer(message, fastavro.parse_schema(schema), event)
    return message.getvalue()


def compiled(schema, after, before):
    class Registry:
        def schema(self, _schema_id):
            return schema

    decoder = EnvelopeDecoder(Registry(), after=after, before=before)
    plan = decoder.plan(1)
    assert plan.quick is not None
    return decoder


def expected(event, after, before):
    def row(side, columns):
        return None if event[side] is None else tuple(event[side].get(c, ABSENT) for c in columns)

    source = event["source"]
    return Decoded(
        event["op"],
        row("after", after),
        row("before", before),
        source["lsn"],
        source["ts_ms"],
        source["origin"],
        source["snapshot"],
        order=(event["transaction"] or {}).get("total_order", 0),
    )


def by_fastavro(schema, message):
    body = BytesIO(message[len(HEADER) :])
    value = fastavro.schemaless_reader(body, fastavro.parse_schema(schema), None)
    if body.read():
        raise EOFError
    return value


def is_same(first, second):
    """Compare, with NaN equal to itself."""
    return repr(first) == repr(second)


THOROUGH = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@THOROUGH
@given(events())
def test_what_is_compiled_reads_what_fastavro_wrote(case):
    schema, event, after, before = case
    message = encoded(schema, event)
    truth = expected(by_fastavro(schema, message), after, before)
    assert is_same(compiled(schema, after, before).decode(message), truth)


@THOROUGH
@given(events())
def test_only_largest_numbers_take_slow_path(case):
    """Otherwise a decoder that always gave up would pass the other tests."""
    schema, event, after, before = case
    message = encoded(schema, event)
    quick = compiled(schema, after, before).plan(1).quick
    try:
        assert is_same(quick(message), expected(by_fastavro(schema, message), after, before))
    except Exception:  # noqa: BLE001
        assert has_large(event)


def has_large(value):
    match value:
        case bool():
            return False
        case int():
            return not -(2**62) <= value < 2**62
        case dict():
            return any(map(has_large, value.values()))
        case list():
            return any(map(has_large, value))
        case _:
            return False


@st.composite
def damages(draw):
    schema, event, after, before = draw(events())
    message = bytearray(encoded(schema, event))
    body = st.integers(len(HEADER), len(message) - 1)
    match draw(st.sampled_from(["flip", "cut", "grow", "insert", "drop", "large"])):
        case "flip":
            for at in draw(st.lists(body, min_size=1, max_size=4)):
                message[at] = draw(st.integers(0, 255))
        case "cut":
            del message[draw(body) :]
        case "grow":
            message += draw(st.binary(min_size=1, max_size=4))
        case "insert":
            at = draw(body)
            message[at:at] = draw(st.binary(min_size=1, max_size=4))
        case "drop":
            del message[draw(body)]
        case _:
            at = draw(body)
            message[at : at + 1] = b"\xfe" * draw(st.integers(3, 12)) + b"\x01"
    return schema, bytes(message), after, before


@settings(THOROUGH, max_examples=300)
@given(damages())
def test_damage_gives_error_or_result_of_fastavro(case):
    schema, message, after, before = case
    result = compiled(schema, after, before).decode_many([message])[0]
    try:
        truth = by_fastavro(schema, message)
    except UnicodeDecodeError:
        # A text that is not wanted is skipped, not checked.
        assert isinstance(result, Decoded | DecodeError)
    except ANY_ERROR:
        assert isinstance(result, DecodeError)
    else:
        assert is_same(result, expected(truth, after, before))


@settings(THOROUGH, max_examples=60)
@given(st.binary(max_size=300), events())
def test_any_bytes_give_event_or_decode_error(body, case):
    schema, _, after, before = case
    result = compiled(schema, after, before).decode_many([HEADER + body, body])
    assert all(isinstance(item, Decoded | DecodeError) for item in result)


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324])
def test_doubles_keep_every_bit(value):
    schema = envelope(
        {"type": "record", "name": "Value", "fields": [{"name": "c0", "type": "double"}]},
        nulls_last=False,
    )
    source = {"version": "", "ts_ms": 0, "snapshot": None, "txId": None, "lsn": 0, "origin": None}
    event = {"before": None, "after": {"c0": value}, "source": source, "op": "c"}
    decoded = compiled(schema, ("c0",), ()).decode(
        encoded(schema, event | {"transaction": None, "ts_ms": 1})
    )
    assert struct.pack("<d", decoded.after[0]) == struct.pack("<d", value)


def test_text_length_is_counted_in_bytes():
    assert pattern(parse("string")[1]) is None
    assert pattern(parse(["null", "string"])[1]) is None
