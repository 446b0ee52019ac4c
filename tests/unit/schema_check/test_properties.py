"""Any evolution of a table: what passes is read, and what touches nothing that is named passes."""

from base64 import b64encode
from dataclasses import replace
from io import BytesIO

import fastavro
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sink_runner.avro import EnvelopeDecoder
from sink_runner.avro.conversion import to_python
from sink_runner.plugin import Column
from sink_runner.postgres.declared_types import declared_type
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.schema_findings import refused

from .tables import MAPPING, Schemas, envelope, row, rules


def numbers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def decimals(digits, scale):
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda number: f"{number}e-{scale}")


DAYS = st.dates().map(lambda day: f"{day:%m-%d}").map(lambda text: f"2024-{text}")
VALUES = {
    "smallint": numbers(16),
    "integer": numbers(32),
    "bigint": numbers(64),
    "real": st.floats(width=32, allow_nan=False),
    "double precision": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "text": st.text(max_size=40),
    "character varying(5)": st.text(max_size=5),
    "character varying(9)": st.text(max_size=9),
    "numeric": decimals(12, 3),
    "numeric(6,2)": decimals(6, 2),
    "numeric(9,2)": decimals(9, 2),
    "uuid": st.uuids().map(str),
    "jsonb": st.just('{"a": [1]}'),
    "bytea": st.binary(max_size=9).map(lambda raw: b64encode(raw).decode()),
    "date": DAYS.map(lambda day: f"{day}Z"),
    "timestamp without time zone": DAYS.map(lambda day: f"{day}T10:00:00.5Z"),
    "timestamp with time zone": DAYS.map(lambda day: f"{day}T10:00:00.5Z"),
    "time without time zone": st.times().map(lambda time: f"{time.isoformat()}Z"),
    "text[]": st.sampled_from(["{}", '{"a,b",NULL}', '{{"x\\\\y"},{z}}']),
    "integer[]": st.sampled_from(["{}", "{1,NULL}", "[0:0]={7}"]),
}
TYPES = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.sampled_from([name, f"{name}!"])  # NOT NULL
)
ALIKE = [
    ["smallint", "integer", "bigint", "real", "double precision"],
    ["numeric", "numeric(6,2)", "numeric(9,2)"],
    ["text", "character varying(5)", "uuid", "jsonb", "date", "timestamp without time zone"],
]
NAMES = [f"c{number}" for number in range(6)]
OTHERS = st.sampled_from(["d0", "d1", "d2"])


@st.composite
def tables(draw):
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, 6))]
    return {name: draw(TYPES) for name in names}


def dropped(columns, name):
    return {one: type_ for one, type_ in columns.items() if one != name}


def renamed(columns, name, other):
    return {other if one == name else one: type_ for one, type_ in columns.items()}


@st.composite
def evolutions(draw, among=None):
    """A table, and the same some changes later; `among` bounds the columns that they touch."""
    then = draw(tables())
    now = dict(then)
    for _ in range(draw(st.integers(0, 4))):
        names = [name for name in now if among is None or name not in among(then)]
        change = draw(st.sampled_from(["add", "drop", "rename", "type"]))
        if change == "add" or not names:
            now.setdefault(draw(OTHERS), draw(TYPES))
            continue
        name = draw(st.sampled_from(names))
        if change == "drop" and len(now) > 1:
            now = dropped(now, name)
        elif change == "rename" and (other := draw(OTHERS)) not in now:
            now = renamed(now, name, other)
        else:
            alike = [group for group in ALIKE if now[name].removesuffix("!") in group]
            now[name] = draw(st.sampled_from(alike[0]) if alike else TYPES)
    return then, now


def named(then):
    """What the mapping names: the first half of the columns."""
    return tuple(then)[: (len(then) + 1) // 2]


def compare(then, now, *, with_types):
    mapping = replace(MAPPING, columns=tuple(Column(name) for name in named(then)))
    held = replace(rules(strict=False), mapping=mapping)
    return refused(
        held.check(row(key=(), with_types=with_types, **now), Contract(row=row(key=(), **then)))
    )


def values_of(columns):
    parts = {}
    for name, type_ in columns.items():
        values = VALUES[type_.removesuffix("!")]
        parts[name] = values if type_.endswith("!") else st.none() | values
    return st.fixed_dictionaries(parts)


def message(schema, after):
    stream = BytesIO()
    stream.write(b"\0\0\0\0\1")
    source = {"ts_ms": 0, "snapshot": None, "lsn": 1, "origin": None}
    change = {"before": None, "after": after, "source": source, "op": "u"}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), change)
    return stream.getvalue()


@settings(max_examples=400)
@given(evolution=evolutions(), with_types=st.booleans(), data=st.data())
def test_what_passes_is_read_as_mapping_was_planned(evolution, with_types, data):
    then, now = evolution
    passes = not compare(then, now, with_types=with_types)
    event("passes" if passes else "is refused")
    if not passes:
        return
    schemas, wanted = Schemas(), named(then)
    schemas.held[1] = envelope(with_types=with_types, **now)
    after = data.draw(values_of(now))
    decoder = EnvelopeDecoder(schemas, after=wanted)
    decoded = decoder.decode(message(schemas.held[1], after))
    assert decoded.after is not None
    planned = row(key=(), **then).columns
    for name, value in zip(wanted, decoded.after, strict=True):
        assert value == after[name]
        convert = to_python(
            planned[name].type.kind, declared_type(planned[name].source_type if with_types else "")
        )
        if value is not None and convert is not None:
            convert(value)  # raises if it is not what the mapping was planned for


@settings(max_examples=200)
@given(evolution=evolutions(among=named), with_types=st.booleans())
def test_what_touches_no_named_column_passes(evolution, with_types):
    then, now = evolution
    assert compare(then, now, with_types=with_types) == []


@settings(max_examples=200)
@given(evolution=evolutions(), with_types=st.booleans())
def test_missing_named_column_is_refused(evolution, with_types):
    then, now = evolution
    gone = {finding.column for finding in compare(then, now, with_types=with_types)} & set(NAMES)
    assert set(named(then)) - now.keys() <= gone
