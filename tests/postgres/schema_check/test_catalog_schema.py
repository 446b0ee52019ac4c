"""What the catalog says of a table that Debezium will write."""

import psycopg
import pytest

from sink_runner.plugin import Table
from sink_runner.schema_check.catalog_schema import (
    TableColumn,
    TableShape,
    read_shape,
    value_schema,
)
from sink_runner.schema_check.shape import row_of

pytestmark = pytest.mark.postgres


@pytest.fixture
def session(scratch):
    with psycopg.connect(scratch.dsn) as connection:
        yield connection


def test_nested_domain_is_its_base_type(scratch, session) -> None:
    """The outermost modifier applies, and NOT NULL of any domain."""
    schema = scratch.schema
    for statement in (
        f"CREATE DOMAIN {schema}.price AS numeric(12,3)",
        f"CREATE DOMAIN {schema}.fair AS {schema}.price NOT NULL",
        f"CREATE DOMAIN {schema}.fairer AS {schema}.fair",
    ):
        scratch.admin.execute(statement.encode())
    scratch.table(f"id int, a {schema}.price, b {schema}.fairer, c varchar(5)")
    shape = read_shape(session, Table("north", schema, "t"))
    assert shape.columns == [
        TableColumn("id", "integer", nullable=True),
        TableColumn("a", "numeric(12,3)", nullable=True),
        TableColumn("b", "numeric(12,3)", nullable=False),
        TableColumn("c", "character varying(5)", nullable=True),
    ]


def test_included_column_is_not_in_the_key(scratch, session) -> None:
    scratch.table("id int, v text, PRIMARY KEY (id) INCLUDE (v)")
    assert read_shape(session, Table("north", scratch.schema, "t")).key == ["id"]


def test_restricted_interval_is_an_interval(scratch, session) -> None:
    scratch.table("id int, a interval year to month, b interval second(3)")
    shape = read_shape(session, Table("north", scratch.schema, "t"))
    fields = value_schema(Table("north", scratch.schema, "t"), shape)["fields"]
    names = [field["type"][1]["connect.name"] for field in fields[1:]]
    assert names == ["io.debezium.time.Interval"] * 2


def test_columns_named_like_those_of_event_are_row() -> None:
    names = ("id", "before", "after", "op", "source")
    shape = TableShape([TableColumn(name, "text", nullable=True) for name in names], ("id",))
    row = row_of(value_schema(Table("north", "public", "t"), shape, with_source_types=True))
    assert row is not None
    assert tuple(row.columns) == names
