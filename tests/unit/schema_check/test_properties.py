"""Generated changes of a table: if accepted, events are decodable; unmapped columns may change."""

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

from .tables import MAPPING, FakeRegistry, envelope, row, rules


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
SIMILAR = [
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


def drop(columns, name):
    return {column: type_ for column, type_ in columns.items() if column != name}


def rename(columns, name, other):
    return {other if column == name else column: type_ for column, type_ in columns.items()}


@st.composite
def evolutions(draw, excluding=None):
    """Draw a table and a changed version of it; columns of `excluding` are not changed."""
    before = draw(tables())
    after = dict(before)
    for _ in range(draw(st.integers(0, 4))):
        names = [name for name in after if excluding is None or name not in excluding(before)]
        change = draw(st.sampled_from(["add", "drop", "rename", "type"]))
        if change == "add" or not names:
            after.setdefault(draw(OTHERS), draw(TYPES))
            continue
        name = draw(st.sampled_from(names))
        if change == "drop" and len(after) > 1:
            after = drop(after, name)
        elif change == "rename" and (other := draw(OTHERS)) not in after:
            after = rename(after, name, other)
        else:
            similar = [group for group in SIMILAR if after[name].removesuffix("!") in group]
            after[name] = draw(st.sampled_from(similar[0]) if similar else TYPES)
    return before, after


def mapped(before):
    """Return the columns of the mapping: the first half of the table's."""
    return tuple(before)[: (len(before) + 1) // 2]


def compare(before, after, *, with_types):
    mapping = replace(MAPPING, columns=tuple(Column(name) for name in mapped(before)))
    checked = replace(rules(strict=False), mapping=mapping)
    return refused(
        checked.check(
            row(key=(), with_types=with_types, **after), Contract(row=row(key=(), **before))
        )
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
def test_accepted_table_is_decoded_as_planned(evolution, with_types, data):
    before, after = evolution
    accepted = not compare(before, after, with_types=with_types)
    event("accepted" if accepted else "refused")
    if not accepted:
        return
    registry, wanted = FakeRegistry(), mapped(before)
    registry.schemas[1] = envelope(with_types=with_types, **after)
    image = data.draw(values_of(after))
    decoder = EnvelopeDecoder(registry, after=wanted)
    decoded = decoder.decode(message(registry.schemas[1], image))
    assert decoded.after is not None
    planned = row(key=(), **before).columns
    for name, value in zip(wanted, decoded.after, strict=True):
        assert value == image[name]
        convert = to_python(
            planned[name].type.kind, declared_type(planned[name].source_type if with_types else "")
        )
        if value is not None and convert is not None:
            convert(value)  # raises if it is not what the mapping was planned for


@settings(max_examples=200)
@given(evolution=evolutions(excluding=mapped), with_types=st.booleans())
def test_change_of_unmapped_columns_is_accepted(evolution, with_types):
    before, after = evolution
    assert compare(before, after, with_types=with_types) == []


@settings(max_examples=200)
@given(evolution=evolutions(), with_types=st.booleans())
def test_missing_mapped_column_is_refused(evolution, with_types):
    before, after = evolution
    removed = {finding.column for finding in compare(before, after, with_types=with_types)} & set(
        NAMES
    )
    assert set(mapped(before)) - after.keys() <= removed
