"""Lookups in a real database."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from sink_runner.errors import ConfigError, RetriableError, ValueRefusedError, WriteError
from sink_runner.plugin import Column, Lookup
from sink_runner.transform.lookups import Lookups
from sink_runner.transform.pg_encoding import to_text

pytestmark = pytest.mark.postgres


@pytest.fixture
def lookups(scratch: Any) -> Any:
    scratch.table("id uuid PRIMARY KEY, number int")
    key = "00000000-0000-4000-8000-00000000000"
    for number in range(3):
        scratch.admin.execute(
            f"INSERT INTO {scratch.schema}.t VALUES (%s, %s)", (f"{key}{number}", number or None)
        )
    opened: list[Lookups] = []

    def build(*queries: str, dsn: str = "") -> Callable[[set[Any]], Any]:
        table = f"{scratch.schema}.t"
        chain = tuple(Lookup(query.replace("TABLE", table), "north") for query in queries)
        column = Column("c", lookup=chain if len(chain) > 1 else chain[0])
        opened.append(Lookups([column, Column("d")], {"north": dsn or scratch.dsn}))
        return lambda values: opened[-1].resolve("c", values)

    build.key = key
    build.scratch = scratch
    yield build
    for one in opened:
        one.close()


BY_ID = "SELECT id::text, number FROM TABLE WHERE id = ANY (%s::uuid[])"
BY_NUMBER = "SELECT number::text, id::text FROM TABLE WHERE number = ANY (%s)"


def test_missing_value_is_left_out(lookups: Any) -> None:
    key = lookups.key
    assert lookups(BY_ID)({f"{key}0", f"{key}1", f"{key}9"}) == {f"{key}0": None, f"{key}1": 1}


def test_numbers_are_queried_as_numbers(lookups: Any) -> None:
    assert lookups(BY_NUMBER)({1, 2, 40_000}) == {str(n): f"{lookups.key}{n}" for n in (1, 2)}


def test_lookup_uses_result_of_previous_lookup(lookups: Any) -> None:
    key = lookups.key
    found = lookups(BY_ID, BY_NUMBER)({f"{key}0", f"{key}1", f"{key}2", f"{key}9"})
    assert {value: result for value, result in found.items() if result} == {
        f"{key}{n}": f"{key}{n}" for n in (1, 2)
    }


def test_chain_without_result_skips_next_query(lookups: Any) -> None:
    assert (
        lookups(BY_ID, "SELECT nothing FROM TABLE WHERE id = ANY (%s)")({f"{lookups.key}0"}) == {}
    )


BY_BOTH = """
SELECT wanted.id, wanted.number, coalesce(one.id, other.id)::text
FROM unnest(%s::text[], %s::text[]) AS wanted (id, number)
LEFT JOIN TABLE one ON one.id = wanted.id::uuid
LEFT JOIN TABLE other ON other.number = wanted.number::int
"""


def test_tuples_are_queried_in_one_statement(lookups: Any) -> None:
    key = lookups.key
    known = (f"{key}0", None), (None, 1), (f"{key}9", 2), (f"{key}1", 2)
    found = lookups(BY_BOTH)({*known, (None, 7), (f"{key}9", None)})
    texts = [(one, None if other is None else str(other)) for one, other in known]
    results = [found[text] for text in texts]
    assert results == [f"{key}0", f"{key}1", f"{key}2", f"{key}1"]
    assert (found[None, "7"], found[f"{key}9", None]) == (None, None)


def test_single_value_may_be_a_tuple(lookups: Any) -> None:
    assert lookups(BY_NUMBER)({(1,), (7,)}) == {("1",): f"{lookups.key}1"}


def test_chain_continues_with_result_of_tuple(lookups: Any) -> None:
    found = lookups(BY_BOTH, BY_ID)({(None, 2), (f"{lookups.key}1", None), (None, 9)})
    assert found == {(None, "2"): 2, (f"{lookups.key}1", None): 1}


def test_value_refused_by_query_is_data_error(
    lookups: Any,
) -> None:
    resolve = lookups(BY_ID)
    with pytest.raises(WriteError) as caught:
        resolve({"secret"})
    assert "secret" not in str(caught.value)
    assert resolve({f"{lookups.key}1"}) == {f"{lookups.key}1": 1}


def test_invalid_query_is_configuration_error(lookups: Any) -> None:
    with pytest.raises(ConfigError):
        lookups("SELECT nothing FROM TABLE WHERE id = ANY (%s)")({"x"})


def test_broken_connection_is_reopened(lookups: Any) -> None:
    resolve = lookups(BY_NUMBER)
    resolve({1})
    lookups.scratch.admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'sink-runner lookups'"
    )
    with pytest.raises(RetriableError):
        resolve({1})
    assert resolve({1}) == {"1": f"{lookups.key}1"}


def test_unreachable_database_is_retriable_error(lookups: Any) -> None:
    with pytest.raises(RetriableError):
        lookups(BY_NUMBER, dsn="postgresql://unknown@127.0.0.1:1/none?connect_timeout=2")({1})


def test_widened_column_is_retriable_error(lookups: Any) -> None:
    """A prepared statement keeps its column types; a new session prepares it again."""
    resolve = lookups("SELECT id::text, number FROM TABLE WHERE id = ANY (%s::uuid[])")
    values = {f"{lookups.key}1"}
    for _ in range(8):
        assert resolve(values)
    lookups.scratch.admin.execute(f"ALTER TABLE {lookups.scratch.schema}.t ALTER number TYPE int8")
    with pytest.raises(RetriableError):
        resolve(values)
    assert resolve(values) == {f"{lookups.key}1": 1}


@pytest.fixture
def stored(scratch: Any) -> Any:
    """Return a function that stores a value in a column of this type and looks it up."""
    opened: list[Lookups] = []

    def look_up(type_: str, value: str) -> Any:
        table = scratch.table(f"id int, v {type_}", f"stored_{len(opened)}").sql_name
        scratch.admin.execute(f"INSERT INTO {table} VALUES (1, %s)".encode(), [value])
        lookup = Lookup(f"SELECT id, v FROM {table} WHERE id = ANY (%s)", "north")
        opened.append(Lookups([Column("c", lookup=lookup)], {"north": scratch.dsn}))
        return to_text(opened[-1].resolve("c", {1})[1])

    yield look_up
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("interval", "1 mon"),
        ("json", '{"a":1.50, "a":2}'),
        ("numrange", "(,1.50]"),
        ("date", "infinity"),
        ("timestamp", "-infinity"),
        ("timestamptz", "infinity"),
        ("date", "0044-03-15 BC"),
    ],
)
def test_found_value_equals_stored_value(stored: Any, type_: str, value: str) -> None:
    assert stored(type_, value) == value


def test_result_under_other_spelling_is_refused(lookups: Any) -> None:
    """Otherwise it would count as not found, and NULL would be written."""
    table = f"{lookups.scratch.schema}.t"
    lookups.scratch.admin.execute(f"INSERT INTO {table} VALUES (gen_random_uuid(), 7)".encode())
    find = lookups("SELECT number::text, id::text FROM TABLE WHERE number = ANY (%s::numeric[])")
    assert len(find({Decimal(7)})) == 1
    assert find({Decimal(8)}) == {}
    with pytest.raises(ValueRefusedError, match="another spelling"):
        find({Decimal("7.0")})
