"""Every type of pg_catalog is covered by a recording, or refused by name."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sink_runner.avro.conversion import to_postgres
from sink_runner.model.envelope import Kind
from sink_runner.postgres.declared_types import declared_type
from sink_runner.postgres.text import (
    array_literal,
    float4_text,
    float8_text,
    hstore_literal,
    parse_array,
    parse_hstore,
    single,
)
from sink_runner.postgres.type_catalog import resolve_types
from sink_runner.preflight.type_checks import type_refusal

RECORDED = Path(__file__).parents[2] / "fixtures" / "debezium" / "types"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


def recorded_types() -> set[str]:
    """Return the columns of the recordings, which `test_recordings` writes to the target."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in RECORDED.glob("*.json")]
    return {name for kept in files for row in kept["texts"].values() for name in row}


def test_every_type_is_recorded_or_refused(scratch: Any) -> None:
    pairs = scratch.admin.execute(
        "SELECT oid, -1 FROM pg_type WHERE typtype IN ('b', 'r', 'm') "
        "AND typnamespace = 'pg_catalog'::regnamespace"
    ).fetchall()
    found = resolve_types(scratch.admin, pairs)
    recorded = recorded_types()
    names = {"char": "char_1"}
    unknown, refused = [], set()
    for pg in found.values():
        if pg.scalar.kind == "p":  # a column cannot be an array of a pseudo-type
            continue
        if type_refusal(pg, pg) is not None:
            refused.add(pg.scalar.name)
            expected = "field " if pg.scalar.kind == "c" else pg.scalar.name
            assert expected in str(type_refusal(pg, pg))
            continue
        shape = "scalar" if pg.element is None else "array"
        name = "pair" if pg.scalar.kind == "c" else pg.scalar.name  # rows of the catalog's tables
        column = f"{names.get(name, name)}__{shape}"
        if column not in recorded:
            unknown.append(column)
    assert unknown == []
    assert "pg_node_tree" in refused
    assert len(found) > len(refused)


@pytest.mark.parametrize(
    ("source", "target"),
    [("int[]", "text"), ("int[]", "jsonb"), ("text", "integer"), ("date[]", "timestamp[]"),
     ("timetz", "time"), ("bit(3)", "text"), ("timestamp", "date"), ("interval", "interval(2)")],
)  # fmt: skip
def test_partly_fitting_types_are_accepted(source: str, target: str) -> None:
    assert type_refusal(declared_type(source), declared_type(target)) is None


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("x numeric(6,2), y text", "x numeric(6,2), y text", None),
        ("x numeric(6,2), y text", "a numeric(8,3), y varchar", None),
        ("x numeric, y text", "x numeric(6,2), y text", "field x"),
        ("x timestamp[], y text", "x timestamp(0)[], y text", "field x"),
        ("x int, y text", "x int, y varchar(3)", "field y"),
        ("x int, y text", "x int", "differ in their fields"),
    ],
)
def test_composite_of_narrower_fields_is_refused(
    scratch: Any, source: str, target: str, reason: str | None
) -> None:
    s = scratch.schema
    scratch.admin.execute(f"CREATE TYPE {s}.one AS ({source})".encode())
    scratch.admin.execute(f"CREATE TYPE {s}.other AS ({target})".encode())
    columns = scratch.table(f"a {s}.one, b {s}.other, c {s}.one[], d {s}.other[]").columns
    for one, other in ("ab", "cd"):
        found = type_refusal(columns[one].pg, columns[other].pg)
        assert (found is None) if reason is None else (reason in str(found))


FUNCTIONS = settings(max_examples=150)


@FUNCTIONS
@given(value=st.floats(width=64))
def test_double_is_written_as_postgresql_does(number_text: Any, value: float) -> None:
    assert float8_text(value) == number_text(value, "float8")


@FUNCTIONS
@given(value=st.floats(width=32))
def test_real_is_written_as_postgresql_does(number_text: Any, value: float) -> None:
    assert float4_text(value) == number_text(value, "float4")
    assert value != value or single(float(float4_text(value))) == value  # noqa: PLR0124 - NaN


@pytest.fixture(scope="module")
def number_text(postgres: Any) -> Any:
    """Return a function that prints a number as PostgreSQL does."""
    with psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True) as connection:

        def text(value: float, type_: str) -> str:
            query = f"SELECT (%s::float8::{type_})::text"
            return str(connection.execute(query.encode(), (value,)).fetchone()[0])

        yield text


NESTED = st.lists(st.none() | TEXTS, min_size=1, max_size=3).flatmap(
    lambda inner: st.sampled_from([inner, [inner, inner]])
)


@FUNCTIONS
@given(values=NESTED)
def test_array_literal_round_trips(values: Any) -> None:
    for delimiter in ",;":
        assert parse_array(array_literal(values, str, delimiter), delimiter) == values


@FUNCTIONS
@given(pairs=st.dictionaries(TEXTS, st.none() | TEXTS, max_size=4))
def test_hstore_literal_round_trips(pairs: dict[str, Any]) -> None:
    assert parse_hstore(hstore_literal(pairs)) == pairs


@pytest.fixture(scope="module")
def session(postgres: Any) -> Any:
    """A session for comparing a function with PostgreSQL's result."""
    with psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True) as connection:
        yield connection


@FUNCTIONS
@given(values=NESTED)
def test_array_of_postgresql_is_parsed(session: Any, values: Any) -> None:
    (text,) = session.execute("SELECT %s::text[]::text", (array_literal(values, str),)).fetchone()
    assert parse_array(text) == values
    (again,) = session.execute("SELECT ('[3:' || array_length(%s::text[], 1) + 2 || ']=' || "
                             "%s::text[]::text)", (text, text)).fetchone()  # fmt: skip
    if not isinstance(values[0], list):
        assert parse_array(again) == values


@FUNCTIONS
@given(days=st.integers(-2_451_000, 2_145_000_000 // 1000))
def test_any_date_is_converted(session: Any, days: int) -> None:
    """Debezium writes Java's LocalDate, which has a year 0 and a sign for long years."""
    query = "SELECT d::text, extract(year FROM d)::int, to_char(d, 'MM-DD') "
    query += "FROM (SELECT '2000-01-01'::date + %s AS d) x"
    text, year, rest = session.execute(query, (days,)).fetchone()
    year = year if year > 0 else year + 1
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    convert = to_postgres(Kind.DATE, declared_type("date"))
    assert convert is not None
    converted = convert(f"{sign}{abs(year):04}-{rest}Z")
    assert session.execute("SELECT %s::date::text", (converted,)).fetchone() == (text,)
