"""The message of a dead letter names the column or lookup that failed, and no value."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sink_runner.errors import ConfigError, FatalError, StepError
from sink_runner.plugin import Column, Lookup
from sink_runner.postgres.error_classes import event_error
from sink_runner.testing import Sample, TargetHarness, create
from sink_runner.transform.lookups import Lookups

pytestmark = pytest.mark.postgres

SECRET = "Zarathustra-17"
MAPPING = """
from sink_runner.plugin import *

def odd(row):
    return row["colour"] is not None if row["note"] == "rule" else True

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.things", target="{database}.public.things", key=("id",),
        conflict=source_wins(),
        rules=(Rule("odd", odd, reads=("note",)),),
        columns=tuple(Column(name) for name in (
            "id", "note", "code", "price", "day", "data", "mark", "bits", "small")),
    )

@hookimpl
def sink_map(event, row):
    if row["note"] == "map":
        event.row["colour"]
    if row["note"] == "value":
        event.row[event.row["code"]]
    if row["note"] == "other":
        {{}}["{secret}"]
    return row
"""
TABLE = """
CREATE DOMAIN short AS varchar(4);
CREATE TABLE things (
  id int PRIMARY KEY, note varchar(6), code short, price numeric(4, 2), day date, data jsonb,
  mark char(2), bits bit(3), small smallint);
GRANT SELECT, INSERT, UPDATE, DELETE ON things TO sink_writer;
"""


@pytest.fixture
def things(postgres: Any, site: Any) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute(TABLE)
    site.plugin("things", MAPPING.format(database=name, secret=SECRET))
    harness = TargetHarness(
        "things", dsn=postgres.dsn(name, role="sink_writer"), admin_dsn=postgres.dsn(name)
    )
    yield harness
    harness.close()


def thing(number: int = 1, **changes: Any) -> Sample:
    row = dict.fromkeys(("note", "code", "price", "day", "data", "mark", "bits", "small"))
    return create(**row | {"id": number} | changes)


def error_message(things: TargetHarness) -> str:
    (dead_letter,) = things.dead()
    return str(dead_letter["error_message"])


@pytest.mark.parametrize(
    ("column", "value", "type_"),
    [
        ("note", SECRET, "character varying(6)"),
        ("code", SECRET, "short"),
        ("price", "12345.00", "numeric(4,2)"),
        ("day", SECRET, "date"),
        ("data", "{" + SECRET, "jsonb"),
        ("mark", SECRET, "character(2)"),
        ("bits", "10101", "bit(3)"),
    ],
)
@pytest.mark.parametrize("other_rows", [0, 3])
def test_refused_column_is_named(
    things: TargetHarness, column: str, value: Any, type_: str, other_rows: int
) -> None:
    things.send(*(thing(n) for n in range(10, 10 + other_rows)), thing(**{column: value}))
    assert len(things.rows()) == other_rows
    text = error_message(things)
    assert f"column {column!r}" in text
    assert type_ in text
    assert SECRET not in text
    assert value not in text


def test_column_of_unsendable_value_is_named(things: TargetHarness) -> None:
    things.send(thing(note=f"n\0{SECRET}"))
    assert "column 'note'" in error_message(things)
    assert SECRET not in error_message(things)


@pytest.mark.parametrize(("note", "where"), [("map", "sink_map"), ("rule", "rule 'odd'")])
def test_column_that_is_not_read_is_named(things: TargetHarness, note: str, where: str) -> None:
    things.send(thing(note=note))
    text = error_message(things)
    assert where in text
    assert "column 'colour' is not read by this mapping: add it to extra_columns" in text


def test_name_computed_from_a_value_is_not_quoted(things: TargetHarness) -> None:
    things.send(thing(note="value", code="Za17"))
    text = error_message(things)
    assert "a column is not read by this mapping" in text
    assert "Za17" not in text


def test_key_of_unrelated_keyerror_is_not_quoted(things: TargetHarness) -> None:
    things.send(thing(note="other"))
    assert "raised KeyError" in error_message(things)
    assert SECRET not in error_message(things)


class TestLookups:
    @pytest.fixture
    def look_up(self, scratch: Any) -> Iterator[Any]:
        scratch.admin.execute(f"CREATE TABLE {scratch.schema}.hidden (a text, b text)".encode())
        opened = []

        def look_up(query: str) -> Any:
            column = Column("district", lookup=Lookup(query, "north"))
            opened.append(Lookups([column], {"north": scratch.dsn}))
            return opened[-1].resolve("district", {"x"})

        look_up.schema = scratch.schema
        yield look_up
        for one in opened:
            one.close()

    def test_missing_table_names_the_lookup(self, look_up: Any) -> None:
        with pytest.raises((ConfigError, FatalError), match="lookup of column 'district'"):
            look_up("SELECT a, b FROM nowhere WHERE a = ANY (%s)")

    def test_missing_grant_names_table_and_role(self, look_up: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            look_up(f"SELECT a, b FROM {look_up.schema}.hidden WHERE a = ANY (%s)")
        text = str(caught.value)
        assert "lookup of column 'district'" in text
        assert "hidden" in text
        assert "sink_writer" in text


class TestBugs:
    def test_bug_in_route_stops_mapping(
        self, things: TargetHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        route = things.pipeline.compiled.route
        monkeypatch.setattr(route, "_key_at", (SECRET,))
        with pytest.raises(FatalError) as caught:
            things.send(thing())
        assert "bug of sink-runner" in str(caught.value)
        assert "route.py" in str(caught.value)
        assert SECRET not in str(caught.value)
        assert things.dead() == []

    @pytest.mark.parametrize("kind", [TypeError, AttributeError, KeyError])
    def test_bug_in_writer_causes_no_dead_letter(
        self, things: TargetHarness, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
    ) -> None:
        def fail(*_: Any, **__: Any) -> int:
            raise kind(SECRET)

        monkeypatch.setattr(things.committer._writer, "write", fail)
        with pytest.raises(kind):
            things.send(thing())
        assert (things.dead(), things.rows()) == ([], [])

    def test_error_of_convert_is_step_error(self) -> None:
        def convert(value: Any) -> Any:
            return value.nothing

        try:
            convert(SECRET)
        except AttributeError as fault:
            error = event_error(fault)
        assert isinstance(error, StepError)
        assert SECRET not in str(error)
