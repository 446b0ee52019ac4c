"""Whole tables are read by an index: with a sort, each page would read the whole table."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from sink_runner.batch.keys import TargetKeys
from sink_runner.batch.source import Source
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.session import connect
from sink_runner.postgres.target_column import TargetColumn

pytestmark = pytest.mark.postgres

MAPPING = TableMapping(
    source="north.public.calls",
    target="north.public.calls",
    key=("area", "number"),
    conflict=source_wins(),
    columns=(Column("area"), Column("number"), Column("minutes")),
)


class ExplainingSession:
    """A session that explains a query instead of running it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.plan = ""

    def execute(self, query: bytes, parameters: Any = None) -> Any:
        plan = self._connection.execute(b"EXPLAIN " + query, parameters).fetchall()
        self.plan = "\n".join(line for (line,) in plan)
        return self._connection.execute("SELECT WHERE false")

    def cursor(self) -> Any:
        return closing(self)

    def copy(self, statement: bytes) -> Any:
        query = statement.removeprefix(b"COPY (").removesuffix(b") TO STDOUT")
        return closing(self.execute(query))

    def close(self) -> None:
        """Leave the session open."""


@pytest.fixture
def calls(postgres: Any) -> Iterator[psycopg.Connection[Any]]:
    """A table whose primary key has another column order than the mapping's key."""
    with connect(postgres.dsn(postgres.fresh_database("smart_citizen")), "test") as session:
        session.execute(
            "CREATE TABLE calls (area int, number int, minutes int, PRIMARY KEY (number, area))"
        )
        session.execute("INSERT INTO calls SELECT n % 97, n, 1 FROM generate_series(1, 20000) n")
        session.execute("ANALYZE calls")
        yield session


@pytest.mark.parametrize("after", [(), ("500", "3")])
def test_source_is_read_in_order_of_its_index(calls: Any, after: tuple[str, ...]) -> None:
    source = Source.of(MAPPING, read_table(calls, MAPPING.source_table), calls)
    explaining = ExplainingSession(calls)
    list(source.lines(explaining, "true", after=after, most=1000))
    assert "Index Scan" in explaining.plan or "Index Only Scan" in explaining.plan
    assert "Sort" not in explaining.plan


@pytest.mark.parametrize("last", [None, ("3", "500")])
def test_target_keys_are_read_in_order_of_index(calls: Any, last: Any) -> None:
    keys = target_keys(calls)
    explaining = ExplainingSession(calls)
    keys.page(last, 1000, None, explaining)
    assert "Index Only Scan" in explaining.plan
    assert "Sort" not in explaining.plan


def test_pages_of_target_keys_have_every_key_once(calls: Any) -> None:
    keys, found, last = target_keys(calls), [], None
    while True:
        page, last = keys.page(last, 777, None, calls)
        found += page
        if last is None:
            break
    assert len(found) == len(set(found)) == 20_000
    assert ("3", "100") in found


def target_keys(calls: Any) -> TargetKeys:
    catalog = read_table(calls, MAPPING.target_table)
    columns = [TargetColumn(column, "int4", "integer", None) for column in MAPPING.columns]
    order = catalog.index_order[frozenset(MAPPING.key)]
    return TargetKeys("calls", MAPPING, catalog.sql_name, columns, order)
