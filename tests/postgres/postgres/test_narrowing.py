"""A narrower target column stores a value unchanged or refuses it, compared with PostgreSQL."""

from typing import Any

import pytest

from sink_runner.errors import ValueRefusedError
from sink_runner.model.envelope import Kind
from sink_runner.plugin import Column
from sink_runner.postgres.catalog import stage_type
from sink_runner.postgres.declared_types import declared_type
from sink_runner.postgres.narrowing import narrowing
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.transform.row_plan import RowPlan, SourceColumn

KINDS = {
    "int2": Kind.INT, "int4": Kind.INT, "int8": Kind.LONG, "float8": Kind.DOUBLE,
    "float4": Kind.FLOAT, "bool": Kind.BOOLEAN,
}  # fmt: skip

NARROW = [
    # source, target, values that are stored, values that are refused
    ("bigint", "integer", [2147483647, -2147483648], [2147483648, 3000000000, -2147483649]),
    ("bigint", "smallint", [32767], [99999, -32769]),
    ("integer", "smallint", [-32768], [32768]),
    ("numeric", "integer", ["3.00"], ["3.5", "3000000000", "NAN", "POSITIVE_INFINITY"]),
    ("numeric", "bigint", ["9223372036854775807"], ["9223372036854775808"]),
    ("double precision", "integer", [1e3], [1.5, 1e300, float("nan")]),
    ("text", "integer", ["7"], ["2147483648"]),
    ("bigint", "oid", [0, 4294967295], [-1, 4294967296]),
    ("bigint", "xid8", [0, 9], [-1]),
    ("numeric", "numeric(6,2)", ["1.50", "1.500", "-9999.99", "NAN"], ["1.555", "10000", "0.001"]),
    ("numeric(12,4)", "numeric(12,2)", ["1.2500"], ["1.2525"]),
    ("numeric", "numeric(3,-2)", ["99900"], ["150", "100000"]),
    ("integer", "numeric(4,1)", [999], [1000]),
    ("double precision", "numeric(5,1)", [1.5], [1.55]),
    ("numeric", "money", ["1.55"], ["1.555"]),
    ("double precision", "real", [0.1, 1.5, float("inf")], [3.141592653589793, 1e300]),
    ("numeric", "real", ["0.1"], ["16777217.25"]),
    ("integer", "real", [16777216], [16777217]),
    ("bigint", "double precision", [2**53], [2**53 + 1]),
    ("numeric", "double precision", ["0.1"], ["0.12345678901234567890123"]),
    ("text", "varchar(3)", ["abc", ""], ["abcd", "ab  "]),
    ("varchar(9)", "varchar(3)", ["abc"], ["abcd", "abc "]),
    ("integer", "varchar(3)", [5, -99], [1000]),
    ("bigint", "char(3)", [123], [1234]),
    ("boolean", "varchar(4)", [True], [False]),
    ("text", "char(3)", ["abc"], ["abcd", "ab  "]),
    ("char(9)", "char(3)", ["abc      "], ["abcd     "]),
    ("text", "name", ["x" * 63], ["x" * 64, "é" * 32]),
    ("text", '"char"', ["a"], ["ab"]),
    ("timestamp", "timestamp(0)", ["2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000Z"],
     ["2024-02-29T12:00:00.5Z"]),
    ("timestamp(6)", "timestamp(3)", ["2024-02-29T12:00:00.123Z"], ["2024-02-29T12:00:00.1234Z"]),
    ("timestamptz", "timestamptz(0)", ["2024-02-29T12:00:00Z"], ["2024-02-29T12:00:00.500000Z"]),
    ("time", "time(1)", ["12:00:00.5Z"], ["12:00:00.55Z"]),
    ("interval", "interval(0)", ["P1DT1S"], ["P1DT1.5S"]),
    ("interval", "interval year to month", [], ["P1Y2M3D"]),
    ("timestamp", "date", ["2024-02-29T00:00:00Z"], ["2024-02-29T12:00:00Z"]),
    ("timestamp", "time", [], ["2024-02-29T12:00:00Z"]),
    ("timetz", "time", ["12:00:00Z", "12:00:00+00"], ["12:00:00+05:30"]),
    ("bit varying", "bit(3)", ["101"], ["1011", "10"]),
    ("bit varying", "bit varying(3)", ["101", ""], ["1011"]),
    ("integer", "boolean", [0, 1], [2]),
    ("numeric[]", "numeric(4,1)[]", ["{1.5,NULL,2.50}", "{{1.5},{2}}"], ["{1.5,2.55}"]),
    ("bigint[]", "integer[]", ["{1,2147483647}"], []),
    ("timestamp[]", "timestamp(0)[]", ['{"2024-02-29 12:00:00"}'], ['{"2024-02-29 12:00:00.5"}']),
]  # fmt: skip
STORED = [(s, t, v) for s, t, good, _ in NARROW for v in good]
REFUSED = [(s, t, v) for s, t, _, bad in NARROW for v in bad]
SAME = [
    "smallint", "integer", "bigint", "numeric(12,2)", "varchar(20)", "char(5)", "timestamp(3)",
    "time(0)", "interval(3)", "interval year to month", "real", "double precision", "oid", "money",
    "numeric[]", "varchar(4)[]", "name", '"char"', "bit(3)", "bit varying(9)", "date", "boolean",
]  # fmt: skip


def plan(source: str, target: str, **declared: Any) -> RowPlan:
    pg, from_ = declared_type(target), declared_type(source)
    kind = KINDS.get(from_.name, Kind.STRING)
    column = TargetColumn(Column("amount", "a", **declared), target, stage_type(pg))
    return RowPlan([column], [SourceColumn("a", kind, source)])


@pytest.mark.parametrize(("source", "target", "value"), REFUSED)
def test_narrow_column_refuses_lossy_value(source: str, target: str, value: Any) -> None:
    with pytest.raises(ValueRefusedError, match=r"^column 'amount': ") as caught:
        plan(source, target).flat((value,))
    assert len(str(value)) < 4 or str(value) not in str(caught.value)


@pytest.mark.parametrize(("source", "target", "value"), STORED)
def test_value_that_fits_is_stored_equal(
    scratch: Any, source: str, target: str, value: Any
) -> None:
    """The stored value, cast back to the source's type, equals the source's value."""
    catalog = scratch.table(f"a {target}, b {source}")
    text = plan(source, source).flat((value,))[0]
    staged = plan(source, target).flat((value,))[0]
    assert isinstance(staged, str) or stage_type(declared_type(target)) != "text"
    pg = catalog.columns["a"].pg
    scratch.admin.execute(
        f"INSERT INTO {catalog.sql_name} SELECT %s::text::{pg.unbound_cast}, "
        f"%s::text::{source}".encode(),
        (staged, text),
    )
    if target in {"boolean", "xid8", "oid", "money", "time", "real"}:  # without a cast back
        return
    query = f"SELECT a::{source}::text = b::text OR a::{source} = b FROM {catalog.sql_name}"
    assert scratch.admin.execute(query.encode()).fetchone() == (True,)


@pytest.mark.parametrize("type_", SAME)
def test_same_type_is_not_checked(type_: str) -> None:
    assert narrowing(declared_type(type_), declared_type(type_)) is None


@pytest.mark.parametrize(
    ("source", "target"),
    [("integer", "bigint"), ("varchar(3)", "varchar(9)"), ("numeric(5,2)", "numeric(9,3)"),
     ("smallint", "numeric(5)"), ("timestamp(0)", "timestamp(3)"), ("real", "double precision"),
     ("date", "timestamp(0)"), ("numeric(12,2)", "double precision"), ("integer", "text")],
)  # fmt: skip
def test_wider_type_is_not_checked(source: str, target: str) -> None:
    assert narrowing(declared_type(source), declared_type(target)) is None


def test_declared_map_may_shorten() -> None:
    assert plan("text", "varchar(3)", max_length=3).flat(("abcdef",)) == ("abc",)
    assert plan("numeric", "numeric(4,1)", convert=lambda v: v * 2).flat(("1.125",)) == ("2.250",)


def test_domain_narrows_as_its_base_type(scratch: Any) -> None:
    scratch.admin.execute(f"CREATE DOMAIN {scratch.schema}.d AS numeric(6,2)".encode())
    target = scratch.table(f"a {scratch.schema}.d").columns["a"]
    column = TargetColumn(Column("a"), target.type, target.stage_type, None, target.pg)
    made = RowPlan([column], [SourceColumn("a", Kind.STRING, "numeric")])
    assert made.flat(("1.50",)) == ("1.50",)
    with pytest.raises(ValueRefusedError, match="column 'a'"):
        made.flat(("1.555",))
