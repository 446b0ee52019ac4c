"""Values found in a real database."""

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
    made: list[Lookups] = []

    def build(*queries: str, dsn: str = "") -> Callable[[set[Any]], Any]:
        table = f"{scratch.schema}.t"
        chain = tuple(Lookup(query.replace("TABLE", table), "north") for query in queries)
        column = Column("c", lookup=chain if len(chain) > 1 else chain[0])
        made.append(Lookups([column, Column("d")], {"north": dsn or scratch.dsn}))
        return lambda asked: made[-1].resolve("c", asked)

    build.key = key
    build.scratch = scratch
    yield build
    for one in made:
        one.close()


BY_ID = "SELECT id::text, number FROM TABLE WHERE id = ANY (%s::uuid[])"
BY_NUMBER = "SELECT number::text, id::text FROM TABLE WHERE number = ANY (%s)"


def test_what_is_found_and_what_is_not(lookups: Any) -> None:
    key = lookups.key
    assert lookups(BY_ID)({f"{key}0", f"{key}1", f"{key}9"}) == {f"{key}0": None, f"{key}1": 1}


def test_numbers_are_asked_as_numbers(lookups: Any) -> None:
    assert lookups(BY_NUMBER)({1, 2, 40_000}) == {str(n): f"{lookups.key}{n}" for n in (1, 2)}


def test_lookup_uses_result_of_previous_lookup(lookups: Any) -> None:
    key = lookups.key
    found = lookups(BY_ID, BY_NUMBER)({f"{key}0", f"{key}1", f"{key}2", f"{key}9"})
    assert {value: it for value, it in found.items() if it} == {
        f"{key}{n}": f"{key}{n}" for n in (1, 2)
    }


def test_a_chain_that_found_nothing_asks_no_further(lookups: Any) -> None:
    assert (
        lookups(BY_ID, "SELECT nothing FROM TABLE WHERE id = ANY (%s)")({f"{lookups.key}0"}) == {}
    )


BY_BOTH = """
SELECT asked.id, asked.number, coalesce(one.id, other.id)::text
FROM unnest(%s::text[], %s::text[]) AS asked (id, number)
LEFT JOIN TABLE one ON one.id = asked.id::uuid
LEFT JOIN TABLE other ON other.number = asked.number::int
"""


def test_several_values_are_asked_side_by_side(lookups: Any) -> None:
    key = lookups.key
    known = (f"{key}0", None), (None, 1), (f"{key}9", 2), (f"{key}1", 2)
    found = lookups(BY_BOTH)({*known, (None, 7), (f"{key}9", None)})
    texts = [(one, None if other is None else str(other)) for one, other in known]
    answers = [found[text] for text in texts]
    assert answers == [f"{key}0", f"{key}1", f"{key}2", f"{key}1"]
    assert (found[None, "7"], found[f"{key}9", None]) == (None, None)


def test_one_value_alone_may_be_a_tuple_too(lookups: Any) -> None:
    assert lookups(BY_NUMBER)({(1,), (7,)}) == {("1",): f"{lookups.key}1"}


def test_what_several_values_found_is_looked_up_further(lookups: Any) -> None:
    found = lookups(BY_BOTH, BY_ID)({(None, 2), (f"{lookups.key}1", None), (None, 9)})
    assert found == {(None, "2"): 2, (f"{lookups.key}1", None): 1}


def test_value_refused_by_query_is_data_error(
    lookups: Any,
) -> None:
    ask = lookups(BY_ID)
    with pytest.raises(WriteError) as caught:
        ask({"secret"})
    assert "secret" not in str(caught.value)
    assert ask({f"{lookups.key}1"}) == {f"{lookups.key}1": 1}


def test_a_query_that_is_wrong_stops_the_mapping(lookups: Any) -> None:
    with pytest.raises(ConfigError):
        lookups("SELECT nothing FROM TABLE WHERE id = ANY (%s)")({"x"})


def test_a_connection_that_broke_is_opened_anew(lookups: Any) -> None:
    ask = lookups(BY_NUMBER)
    ask({1})
    lookups.scratch.admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'sink-runner lookups'"
    )
    with pytest.raises(RetriableError):
        ask({1})
    assert ask({1}) == {"1": f"{lookups.key}1"}


def test_database_that_does_not_answer_is_waited_for(lookups: Any) -> None:
    with pytest.raises(RetriableError):
        lookups(BY_NUMBER, dsn="postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")({1})


def test_a_column_that_was_widened_is_waited_for(lookups: Any) -> None:
    """PostgreSQL remembers the prepared query's types; a new session asks anew."""
    ask = lookups("SELECT id::text, number FROM TABLE WHERE id = ANY (%s::uuid[])")
    wanted = {f"{lookups.key}1"}
    for _ in range(8):
        assert ask(wanted)
    lookups.scratch.admin.execute(f"ALTER TABLE {lookups.scratch.schema}.t ALTER number TYPE int8")
    with pytest.raises(RetriableError):
        ask(wanted)
    assert ask(wanted) == {f"{lookups.key}1": 1}


@pytest.fixture
def stored(scratch: Any) -> Any:
    """Look up one value that a column of a type holds, by its number."""
    made: list[Lookups] = []

    def look_up(type_: str, value: str) -> Any:
        table = scratch.table(f"id int, v {type_}", f"stored_{len(made)}").sql_name
        scratch.admin.execute(f"INSERT INTO {table} VALUES (1, %s)".encode(), [value])
        lookup = Lookup(f"SELECT id, v FROM {table} WHERE id = ANY (%s)", "north")
        made.append(Lookups([Column("c", lookup=lookup)], {"north": scratch.dsn}))
        return to_text(made[-1].resolve("c", {1})[1])

    yield look_up
    for one in made:
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
def test_found_value_is_as_it_is_stored(stored: Any, type_: str, value: str) -> None:
    assert stored(type_, value) == value


def test_value_found_under_another_spelling_is_an_error(lookups: Any) -> None:
    """It would pass for not found, and be written as NULL."""
    table = f"{lookups.scratch.schema}.t"
    lookups.scratch.admin.execute(f"INSERT INTO {table} VALUES (gen_random_uuid(), 7)".encode())
    find = lookups("SELECT number::text, id::text FROM TABLE WHERE number = ANY (%s::numeric[])")
    assert len(find({Decimal(7)})) == 1
    assert find({Decimal(8)}) == {}
    with pytest.raises(ValueRefusedError, match="another spelling"):
        find({Decimal("7.0")})
