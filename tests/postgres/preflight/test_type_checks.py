"""Pairs of types without a possible cast are refused, and only those."""

import psycopg
import pytest
from psycopg import errors

from sink_runner.postgres.type_catalog import read_types
from sink_runner.preflight.type_checks import never_fits

from ...support.type_values import TYPES

pytestmark = pytest.mark.postgres
BUILT_IN = [values for values in TYPES if not values.extension and not values.setup]


@pytest.fixture(scope="module")
def samples(postgres):
    """Each built-in type, as scalar and array, with its values as PostgreSQL prints them."""
    with psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA casts")
        found = []
        for number, values in enumerate(BUILT_IN):
            table = f'"casts"."t{number}"'
            admin.execute(f"CREATE TABLE {table} (s {values.sql}, a {values.sql}[])".encode())
            types = read_types(admin, table)
            texts = []
            for literal in values.literals:
                query = f"SELECT (%s::{values.sql})::text, ARRAY[%s::{values.sql}]::text"
                texts.append(admin.execute(query.encode(), (literal, literal)).fetchone())
            found.append((types["s"].type, [one for one, _ in texts]))
            found.append((types["a"].type, [two for _, two in texts]))
        admin.execute("DROP SCHEMA casts CASCADE")
        yield admin, found


def test_types_that_never_fit_cannot_be_cast(samples) -> None:
    """For each refused pair, PostgreSQL rejects every value."""
    admin, found = samples
    attempts, cast = 0, []
    for source, texts in found:
        for target, _ in found:
            for text in texts if never_fits(source, target) else ():
                if "infinity" in text:
                    continue  # a value of both numbers and times
                attempts += 1
                try:
                    admin.execute(f"SELECT %s::text::{target.cast}".encode(), (text,))
                except errors.DataError:
                    continue
                cast.append((source.declared, text, target.declared))
    assert cast == []
    assert attempts > 1000


def test_own_type_always_fits(samples) -> None:
    _, found = samples
    assert not any(never_fits(source, source) for source, _ in found)
