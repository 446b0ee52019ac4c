"""Each of Debezium's representations of a value is stored as the source's value."""

import base64
import json
from typing import Any

import pytest

from sink_runner.errors import DecodeError
from sink_runner.model.envelope import ColumnType, Kind
from sink_runner.plugin import Column
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.postgres.text import parse_hstore
from sink_runner.transform.pg_encoding import to_text
from sink_runner.transform.row_plan import RowPlan, SourceColumn


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def item(kind: Kind) -> ColumnType:
    return ColumnType(kind, nullable=True)


def store_value(scratch: Any, kind: Kind, source: Any, value: Any, **more: Any) -> Any:
    """Return the text of a value in the target, after it was decoded, staged and cast.

    `of` is the kind of an array's elements; `target` is the target's column if its type differs.
    The path through a plugin's step must give the same value, if Python can represent it.
    """
    target = more.get("target") or source
    target_column = TargetColumn(Column("a"), target.type, target.stage_type, None, target.pg)
    of = more.get("of")
    column = SourceColumn("a", kind, source.type, source.pg, None if of is None else item(of))
    plan = RowPlan([target_column], [column])
    found = cast(scratch, target, plan.flat((value,))[0])
    try:
        stepped = plan.finish(plan.typed((value,)))[0]
    except DecodeError:
        return found
    assert same(cast(scratch, target, stepped), found)
    return found


def cast(scratch: Any, target: Any, staged: Any) -> str:
    query = f"SELECT (%s::text::{target.pg.unbound_cast})::text"
    (text,) = scratch.admin.execute(query.encode(), (to_text(staged),)).fetchone()
    return str(text)


def same(one: str, other: str) -> bool:
    """Whether the texts are equal, or equal as numbers: a plugin's step reads a number as float."""
    return one == other or float(one) == float(other)


ARRAYS = [
    ("numeric[]", Kind.STRING, ["1.50", "NAN", None, "NEGATIVE_INFINITY"],
     "{1.50,NaN,NULL,-Infinity}"),
    ("bytea[]", Kind.STRING, [base64_text(b"\x00\xff"), None], '{"\\\\x00ff",NULL}'),
    ("bytea[]", Kind.BYTES, [b"\x00\xff"], '{"\\\\x00ff"}'),
    ("date[]", Kind.DATE, ["2024-02-29Z", "-0043-03-15Z", "infinity"],
     '{2024-02-29,"0044-03-15 BC",infinity}'),
    ("timestamp[]", Kind.TIMESTAMP, ["2024-02-29T12:00:00.5Z", "-290308-12-21T19:59:27.6Z"],
     '{"2024-02-29 12:00:00.5",-infinity}'),
    ("timestamptz[]", Kind.TIMESTAMP_TZ, ["-0043-03-15T00:00:00.000000Z"],
     '{"0044-03-15 00:00:00+00 BC"}'),
    ("time[]", Kind.TIME, ["12:00:00Z", "24:00:00Z"], "{12:00:00,24:00:00}"),
    ("uuid[]", Kind.UUID, ["aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"],
     "{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}"),
    ("json[]", Kind.JSON, ['{"a": "x\\"y"}', "null"], '{"{\\"a\\": \\"x\\\\\\"y\\"}","null"}'),
    ("real[]", Kind.FLOAT, [0.10000000149011612, float("nan")], "{0.1,NaN}"),
    ("float8[]", Kind.DOUBLE, [0.1, float("-inf"), 1e300], "{0.1,-Infinity,1e+300}"),
    ("bool[]", Kind.BOOLEAN, [True, None, False], "{t,NULL,f}"),
    ("int8[]", Kind.LONG, [1, None, -(2**63)], "{1,NULL,-9223372036854775808}"),
    ("text[]", Kind.STRING, ['a"b', "c\\d", "", "NULL", None, " x ", "a,b", "{}"],
     '{"a\\"b","c\\\\d","","NULL",NULL," x ","a,b","{}"}'),
    ("inet[]", Kind.STRING, ["10.0.0.1/8"], "{10.0.0.1/8}"),
    ("text[]", Kind.STRING, [], "{}"),
    ("int4[]", Kind.INT, [[1, 2], [3, 4]], "{{1,2},{3,4}}"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "of", "value", "expected"), ARRAYS)
def test_array_elements_convert_as_scalars_do(
    scratch: Any, type_: str, of: Kind, value: Any, expected: str
) -> None:
    scratch.admin.execute(b"SET TimeZone = 'UTC'")
    column = scratch.table(f"a {type_}").columns["a"]
    assert store_value(scratch, Kind.ARRAY, column, value, of=of) == expected


@pytest.mark.parametrize(("type_", "of", "value", "expected"), ARRAYS)
def test_domains_over_arrays_and_elements_convert_alike(
    scratch: Any, type_: str, of: Kind, value: Any, expected: str
) -> None:
    s = scratch.schema
    scratch.admin.execute(b"SET TimeZone = 'UTC'")
    scratch.admin.execute(f"CREATE DOMAIN {s}.element AS {type_[:-2]}".encode())
    scratch.admin.execute(f"CREATE DOMAIN {s}.inside AS {type_}".encode())
    scratch.admin.execute(f"CREATE DOMAIN {s}.whole AS {s}.inside".encode())
    columns = scratch.table(f"a {s}.element[], b {s}.whole").columns
    for column in columns.values():
        assert store_value(scratch, Kind.ARRAY, column, value, of=of) == expected


def test_array_of_only_null_is_refused(scratch: Any) -> None:
    """Debezium writes NULL for each inner array of an array of two dimensions."""
    column = scratch.table("a int[]").columns["a"]
    with pytest.raises(DecodeError, match="column 'a': an array holds only NULL"):
        store_value(scratch, Kind.ARRAY, column, [None, None], of=Kind.INT)


def test_enum_array_keeps_commas_and_blanks(scratch: Any) -> None:
    labels = ["very happy", "a,b", 'quo"te', "back\\slash", "{brace}", ""]
    definition = ", ".join("'" + label + "'" for label in labels)
    scratch.admin.execute(f"CREATE TYPE {scratch.schema}.mood AS ENUM ({definition})".encode())
    column = scratch.table(f"a {scratch.schema}.mood[]").columns["a"]
    text = store_value(scratch, Kind.ARRAY, column, labels, of=Kind.ENUM)
    query = f"SELECT %s::{scratch.schema}.mood[]::text[]"
    assert scratch.admin.execute(query.encode(), (text,)).fetchone()[0] == labels


@pytest.mark.parametrize("layer", ["{s}.base", "{s}.nested", "{s}.deep"])
@pytest.mark.parametrize(
    ("type_", "kind", "value_and_text"),
    [
        ("bytea", Kind.STRING, (base64_text(b"\x00\xff\x10"), "\\x00ff10")),
        ("numeric", Kind.STRING, ("POSITIVE_INFINITY", "Infinity")),
        ("numeric(6,2)", Kind.STRING, ("NAN", "NaN")),
        ("int4", Kind.INT, (5, "5")),
        ("float4", Kind.FLOAT, (0.10000000149011612, "0.1")),
        ("bool", Kind.BOOLEAN, (False, "false")),
        ("date", Kind.DATE, ("-0043-03-15Z", "0044-03-15 BC")),
        ("bit(12)", Kind.BITS, (b"\x12\x00", "000000010010")),
        ("bit(1)", Kind.BOOLEAN, (True, "1")),
        ("text", Kind.STRING, ("AP8Q", "AP8Q")),
    ],
)
def test_domain_behaves_as_its_base_type(
    scratch: Any, layer: str, type_: str, kind: Kind, value_and_text: tuple[Any, str]
) -> None:
    s = scratch.schema
    for name, over in (("base", type_), ("nested", f"{s}.base"), ("deep", f"{s}.nested")):
        scratch.admin.execute(f"CREATE DOMAIN {s}.{name} AS {over}".encode())
    column = scratch.table(f"a {layer.format(s=s)}").columns["a"]
    value, text = value_and_text
    assert store_value(scratch, kind, column, value) == text


@pytest.mark.parametrize(
    ("bits", "raw", "text"),
    [(8, b"\x02", "00000010"), (8, b"", "00000000"), (12, b"\x12", "000000010010"),
     (9, b"\x00\x01", "100000000")],
)  # fmt: skip
def test_bits_keep_their_order_and_zeros(scratch: Any, bits: int, raw: bytes, text: str) -> None:
    column = scratch.table(f"a bit({bits})").columns["a"]
    assert store_value(scratch, Kind.BITS, column, raw) == text


def test_bits_of_any_length_are_refused(scratch: Any) -> None:
    """Debezium drops the leading zeros of a varbit, and their number is unknown."""
    column = scratch.table("a varbit(20)").columns["a"]
    with pytest.raises(DecodeError, match="column 'a'"):
        store_value(scratch, Kind.BITS, column, b"\x05")


@pytest.mark.parametrize("value", ['{"colour": "dark \\"red\\"", "size": null}', "{}"])
def test_hstore_converts_from_and_to_json(scratch: Any, value: str) -> None:
    s = scratch.schema
    scratch.admin.execute(b"DROP EXTENSION IF EXISTS hstore CASCADE")
    scratch.admin.execute(f"CREATE EXTENSION hstore SCHEMA {s}".encode())
    columns = scratch.table(f"a {s}.hstore, b jsonb, c text").columns
    source = columns["a"]
    text = store_value(scratch, Kind.JSON, source, value)
    query = f"SELECT {s}.hstore_to_jsonb(%s::{s}.hstore) = %s::jsonb"
    assert scratch.admin.execute(query.encode(), (text, value)).fetchone() == (True,)
    for kind, form in ((Kind.JSON, value), (Kind.STRING, text), (Kind.MAP, json.loads(value))):
        found = store_value(scratch, kind, source, form, target=columns["b"])
        assert json.loads(found) == json.loads(value)
        found = store_value(scratch, kind, source, form, target=columns["c"])
        assert parse_hstore(found) == json.loads(value)
    scratch.admin.execute(f"DROP SCHEMA {s} CASCADE".encode())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.10000000149011612, "0.1"), (19.989999771118164, "19.99"), (16777216.0, "1.6777216e+07"),
     (1e-45, "1e-45"), (float("nan"), "NaN"), (float("-inf"), "-Infinity"), (-0.0, "-0")],
)  # fmt: skip
def test_real_keeps_its_shortest_text(scratch: Any, value: float, text: str) -> None:
    columns = scratch.table("a real, b numeric, c text, d double precision").columns
    for name in "acd":
        found = store_value(scratch, Kind.FLOAT, columns["a"], value, target=columns[name])
        assert same(found, text)
    if text != "-0":
        found = store_value(scratch, Kind.FLOAT, columns["a"], value, target=columns["b"])
        assert float(found) == float(text) or text == "NaN"
