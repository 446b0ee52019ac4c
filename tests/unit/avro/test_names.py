"""Names of columns and tables that Avro or Kafka do not permit."""

import json
import re
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.avro import EnvelopeDecoder, KeyDecoder
from sink_runner.avro.names import adjust_name, restore_name
from sink_runner.plugin import Column, Table, TableMapping, source_wins
from sink_runner.schema_check.shape import row_of

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
LIKE_CODES = st.text("_u0123456789abcdef-", min_size=1)


@given(st.one_of(NAMES, LIKE_CODES))
def test_adjusted_name_can_be_restored(name: str) -> None:
    adjusted = adjust_name(name)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", adjusted)
    assert restore_name(adjusted) == name


@pytest.mark.parametrize(
    ("name", "adjusted"),
    [
        ("gr_id", "gr_id"),
        ("_hidden", "_hidden"),
        ("a-b", "a_u002db"),
        ("Order No", "Order_u0020No"),
        ("1st", "_u0031st"),
        ("\u0928\u093e\u092e", "_u0928_u093e_u092e"),
        ("\U0001f600", "_ud83d_ude00"),
        ("a_u002db", "a_u005fu002db"),
    ],
)
def test_name_is_adjusted_as_by_the_transform(name: str, adjusted: str) -> None:
    assert (adjust_name(name), restore_name(adjusted)) == (adjusted, name)


def test_unadjusted_name_is_unchanged() -> None:
    assert restore_name("a_ud83d") == "a_ud83d"  # half of a surrogate pair


def record(name: str, *fields: tuple[str, object]) -> dict[str, object]:
    declared = [{"name": field, "type": kind} for field, kind in fields]
    return {"type": "record", "name": name, "fields": declared}


COLUMNS = ("id", "a-b", "a_b", "Order No", "1st")
ROW = record("Value", *((adjust_name(name), "string") for name in COLUMNS))
ENVELOPE = record(
    "Envelope",
    ("before", ["null", ROW]),
    ("after", ["null", "Value"]),
    ("source", record("Source", ("lsn", ["null", "long"]))),
    ("op", "string"),
)
KEY = record("Key", (adjust_name("Order No"), "string"))


class FakeRegistry:
    def schema(self, schema_id: int) -> object:
        return json.loads(json.dumps(KEY if schema_id == 2 else ENVELOPE))


def message(schema_id: int, schema: object, value: object) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), value)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


def test_columns_that_differ_by_hyphen_stay_separate() -> None:
    row = {adjust_name(name): f"of {name}" for name in COLUMNS}
    event = {"before": None, "after": row, "source": {"lsn": 1}, "op": "c"}
    decoded = EnvelopeDecoder(FakeRegistry(), after=COLUMNS).decode(message(1, ENVELOPE, event))
    assert decoded is not None
    assert decoded.after == tuple(f"of {name}" for name in COLUMNS)


def test_key_decoder_restores_names() -> None:
    raw = message(2, KEY, {adjust_name("Order No"): "n-1"})
    assert KeyDecoder(FakeRegistry(), ["Order No"]).decode(raw) == ("n-1",)


def test_schema_check_restores_names() -> None:
    shape = row_of(ENVELOPE, key=KEY)
    assert shape is not None
    assert tuple(shape.columns) == COLUMNS
    assert shape.key == ("Order No",)


# -- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts", "topic"),
    [
        ("db.public.t", ("db", "public", "t"), "db.public.t"),
        ("db.rw.Order Items", ("db", "rw", "Order Items"), "db.rw.Order_Items"),
        ('db.rw."Order Items"', ("db", "rw", "Order Items"), "db.rw.Order_Items"),
        ('db."my.schema"."a ""b"""', ("db", "my.schema", 'a "b"'), "db.my.schema.a__b_"),
        ("db.rw.\u0928-1", ("db", "rw", "\u0928-1"), "db.rw._-1"),
        ("db.rw." + "x" * 300, ("db", "rw", "x" * 300), "db.rw." + "x" * 243),
    ],
)
def test_text_of_table_is_parsed(text: str, parts: tuple[str, ...], topic: str) -> None:
    table = Table.parse(text)
    assert (table.database, table.schema, table.name) == parts
    assert table.topic == topic
    assert Table.parse(str(table)) == table


@given(NAMES, NAMES, NAMES)
def test_parsed_table_equals_its_text(database: str, schema: str, name: str) -> None:
    table = Table(database, schema, name)
    assert Table.parse(str(table)) == table
    assert re.fullmatch(r"[A-Za-z0-9._-]+", table.topic)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "a..c", 'a.b."c', 'a."b"c.d', 'a.b.""'])
def test_text_that_is_not_a_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form database\.schema\.table"):
        Table.parse(text)


def test_mapping_normalizes_names_of_tables() -> None:
    mapping = TableMapping(
        source='db."rw"."t 1"',
        target="other.rw.t",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
    )
    assert mapping.source == "db.rw.t 1"
