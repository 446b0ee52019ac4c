"""The list of types has every type of the catalog, and its literals are valid."""

from collections.abc import Iterator

import psycopg
import pytest

from ...support.type_shapes import (
    Shape,
    bounded_literals,
    domains,
    empty_literals,
    literal_sql,
    shaped_literal,
    type_sql,
)
from ...support.type_values import EXTENSION_NAMES, NOT_STORABLE, TYPES, TypeValues

pytestmark = pytest.mark.postgres

_CATALOG = """
SELECT typname FROM pg_type
WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')
  AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = pg_type.oid)
"""


@pytest.fixture(scope="module")
def database(postgres) -> Iterator[psycopg.Connection]:
    name = postgres.fresh_database("smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        connection.execute(b"CREATE SCHEMA matrix")
        connection.execute(b"SET search_path = matrix")
        for extension in EXTENSION_NAMES:
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}".encode())
        for values in TYPES:
            for statement in [values.setup, *domains(values)]:
                if statement:
                    connection.execute(statement.encode())
        yield connection


def test_names_are_unique() -> None:
    names = [values.name for values in TYPES]
    assert sorted(set(names)) == sorted(names)


def test_every_catalog_type_is_listed(database) -> None:
    listed = {values.sql.strip('"') for values in TYPES} | NOT_STORABLE
    found = {name for (name,) in database.execute(_CATALOG.encode())}
    assert found - listed == set()


@pytest.mark.parametrize("values", TYPES, ids=lambda values: values.name)
def test_every_literal_is_accepted_in_every_shape(database, values: TypeValues) -> None:
    literals = values.all_literals()
    for shape in Shape:
        type_ = type_sql(values, shape)
        texts = [shaped_literal(values, shape, one, literals[0]) for one in literals]
        for text in [*texts, *empty_literals(shape), *bounded_literals(values, shape)]:
            query = f"SELECT {literal_sql(text)}::{type_}::text"
            (printed,) = database.execute(query.encode()).fetchone()
            (reprinted,) = database.execute(
                f"SELECT {literal_sql(printed)}::{type_}::text".encode()
            ).fetchone()
            assert reprinted == printed, text


@pytest.mark.parametrize(
    "values", [values for values in TYPES if values.equal_pairs], ids=lambda values: values.name
)
def test_equal_literals_are_stored_differently(database, values: TypeValues) -> None:
    for one, other in values.equal_pairs:
        first, second = (f"{literal_sql(text)}::{values.sql}" for text in (one, other))
        query = f"SELECT ROW({first})::record *<> ROW({second})::record"
        assert database.execute(query.encode()).fetchone() == (True,), (one, other)
