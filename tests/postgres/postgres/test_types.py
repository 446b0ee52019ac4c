"""Types resolved from pg_catalog, and from a declaration."""

from typing import Any

import pytest

from sink_runner.postgres.declared_types import declared_type
from sink_runner.postgres.type_catalog import resolve_types
from sink_runner.postgres.types import PgType


def columns(scratch: Any, ddl: str, *before: str) -> dict[str, PgType]:
    for statement in before:
        scratch.admin.execute(statement.replace("{s}", scratch.schema).encode())
    table = scratch.table(ddl.replace("{s}", scratch.schema))
    return {name: column.pg for name, column in table.columns.items()}


def test_domain_resolves_to_its_base_type(scratch: Any) -> None:
    found = columns(
        scratch,
        "a {s}.outer_, b {s}.words, c {s}.outer_[]",
        "CREATE DOMAIN {s}.inner_ AS numeric(6,2)",
        "CREATE DOMAIN {s}.outer_ AS {s}.inner_ CHECK (VALUE > 0)",
        "CREATE DOMAIN {s}.words AS varchar(9)[]",
    )
    a, b, c = found.values()
    assert (a.schema, a.name, a.category, a.digits) == ("pg_catalog", "numeric", "N", (6, 2))
    assert a.domains == (f"{scratch.schema}.outer_", f"{scratch.schema}.inner_")
    assert (a.cast, a.unbound_cast) == (f"{scratch.schema}.outer_", "numeric")
    assert b.element is not None
    assert (b.name, b.element.name, b.element.length) == ("_varchar", "varchar", 9)
    assert b.unbound_cast == "character varying[]"
    assert c.element is not None
    assert (c.element.digits, c.cast) == ((6, 2), f"{scratch.schema}.outer_[]")
    assert c.unbound_cast == "numeric[]"


def test_modifier_of_the_column_applies(scratch: Any) -> None:
    found = columns(
        scratch,
        "a varchar(7), b char(3), c numeric(5,-2), d timestamp(2)[], e interval(1), "
        "f interval day to second, g bit(4), h varbit(9), i timetz(0), j char, k bpchar, l numeric",
    )
    assert [found[name].length for name in "abghjk"] == [7, 3, 4, 9, 1, None]
    assert (found["c"].digits, found["l"].digits) == ((5, -2), None)
    assert found["d"].scalar.second_digits == 2
    assert [found[name].second_digits for name in "efia"] == [1, None, 0, None]
    assert [found[name].unbound_cast for name in "bgk"] == ["bpchar", '"bit"', "bpchar"]


def test_parts_of_composite_enum_and_range(scratch: Any) -> None:
    found = columns(
        scratch,
        "a {s}.pair, b {s}.mood[], c int4multirange, d {s}.spans",
        "CREATE TYPE {s}.mood AS ENUM ('sad', 'a,b', 'very happy')",
        "CREATE TYPE {s}.pair AS (x numeric(3,1), m {s}.mood)",
        "CREATE TYPE {s}.spans AS RANGE (subtype = float8)",
    )
    fields = dict(found["a"].fields)
    assert (fields["x"].digits, fields["m"].labels) == ((3, 1), ("sad", "a,b", "very happy"))
    assert found["b"].scalar.labels == ("sad", "a,b", "very happy")
    assert [found[name].subtype.name for name in "cd"] == ["int4", "float8"]  # type: ignore[union-attr]  # both are ranges
    assert [found[name].kind for name in "acd"] == ["c", "m", "r"]


def test_extension_type_is_known_in_any_schema(scratch: Any) -> None:
    scratch.admin.execute(b"DROP EXTENSION IF EXISTS hstore CASCADE")
    found = columns(scratch, "a {s}.hstore, b {s}.hstore[]", "CREATE EXTENSION hstore SCHEMA {s}")
    scratch.admin.execute(b"SET search_path = pg_catalog")
    assert found["a"].is_from("hstore", "hstore")
    assert found["b"].scalar.is_from("hstore", "hstore")
    assert found["a"].cast == f"{scratch.schema}.hstore"
    scratch.admin.execute(f"DROP SCHEMA {scratch.schema} CASCADE".encode())


@pytest.mark.parametrize(
    "ddl",
    [
        "numeric(12,2)", "numeric(4,-3)", "varchar(20)", "char(5)", "char", "bpchar",
        "timestamp(3) with time zone", "timestamp without time zone", "time(0)", "bit(3)", "bit",
        "bit varying(8)", "double precision", "integer", "int", "real[]", "varchar(3)[]",
        "character varying", "decimal(3,1)", "timestamptz(2)", '"char"', "bytea[][]", "interval(2)",
        "interval year to month", "interval day to second(3)",
    ],
)  # fmt: skip
def test_declaration_resolves_as_the_catalog_does(scratch: Any, ddl: str) -> None:
    if ddl in {"char", "bit"}:  # PostgreSQL adds their default length of 1
        ddl += "(1)"
    catalog = columns(scratch, f"a {ddl}")["a"]
    declared = declared_type(ddl)
    one, other = (
        [t.schema, t.name, t.kind, t.scalar.name, t.scalar.modifier, t.scalar.category]
        for t in (catalog, declared)
    )
    assert one == other
    for cast in (declared.cast, declared.unbound_cast, catalog.cast, catalog.unbound_cast):
        scratch.admin.execute(f"SELECT NULL::{cast}".encode())


def test_casts_of_every_builtin_type_are_valid_sql(scratch: Any) -> None:
    pairs = scratch.admin.execute(
        "SELECT oid, -1 FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typname !~ '^_?pg_'"
    ).fetchall()
    for (oid, _), found in resolve_types(scratch.admin, pairs).items():
        query = f"SELECT '{found.cast}'::regtype::oid, NULL::{found.unbound_cast}"
        assert scratch.admin.execute(query.encode()).fetchone()[0] == oid


def test_same_base_ignores_domains_and_schemas(scratch: Any) -> None:
    found = columns(
        scratch,
        "a {s}.money_, b numeric(3), c {s}.m1, d {s}.m2, e text, f {s}.m1[], g {s}.m2[]",
        "CREATE DOMAIN {s}.money_ AS numeric(12,2)",
        "CREATE TYPE {s}.m1 AS ENUM ('x', 'y')",
        "CREATE TYPE {s}.m2 AS ENUM ('x', 'y')",
    )
    assert found["a"].same_base(found["b"])
    assert found["c"].same_base(found["d"])
    assert found["f"].same_base(found["g"])
    assert not found["a"].same_base(found["e"])
    assert not found["f"].same_base(found["c"])
