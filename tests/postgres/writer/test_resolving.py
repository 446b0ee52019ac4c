"""A plugin resolves conflicts of rows with values that Python cannot represent."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from sink_runner.testing import TargetHarness, create

pytestmark = pytest.mark.postgres

PLUGIN = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.things", target="{database}.public.things", key=("id",),
        conflict=source_wins(), columns=(Column("id"), Column("v"), Column("note")),
    )

@hookimpl
def sink_resolve_conflict(incoming, current):
    note = incoming["note"]
    if note == "take":
        return incoming
    return current if note == "leave" else {{**current, "note": "merged"}}
"""
VALUES = [
    ("date", "infinity"),
    ("date", "0044-03-15 BC"),
    ("timestamp", "-infinity"),
    ("timestamp", "0044-03-15 12:00:00 BC"),
    ("timestamptz", "10000-01-01 00:00:00+00"),
    ("time", "24:00:00"),
    ("timetz", "24:00:00+05:30"),
    ("interval", "178000000 years"),
    ("interval", "1 mon"),
    ("numeric", "1.50"),
    ("numeric", "NaN"),
    ("float8", "-0"),
    ("json", '{"a": "\\u0000"}'),
    ("json", "1E400000"),
    ("text[]", "[0:1]={a,b}"),
    ("date[]", "{infinity}"),
    ("daterange", "[2024-02-29,infinity)"),
    ("point", "(1,NaN)"),
    ("xml", "<a/>"),
]


@pytest.fixture
def make(postgres, site) -> Iterator[Callable[[str], TargetHarness]]:
    harnesses: list[TargetHarness] = []

    def build(type_: str) -> TargetHarness:
        name = postgres.fresh_database(like="smart_citizen")
        with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
            admin.execute(
                f"CREATE TABLE things (id int PRIMARY KEY, v {type_}, note text)".encode()
            )
            admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON things TO sink_writer")
        site.plugin("things", PLUGIN.format(database=name))
        dsn = postgres.dsn(name, role="sink_writer")
        harnesses.append(TargetHarness("things", dsn=dsn, admin_dsn=postgres.dsn(name)))
        return harnesses[0]

    yield build
    for harness in harnesses:
        harness.close()


def text(target: TargetHarness) -> tuple[Any, ...]:
    query = "SELECT v::text AS v, note FROM things"
    (row,) = target.admin.execute(query).fetchall()
    return tuple(dict(row).values())


@pytest.mark.parametrize(("type_", "stored"), VALUES, ids=str)
def test_resolution_keeps_values_beyond_python(make, type_: str, stored: str) -> None:
    target = make(type_)
    target.send(create(id=1, v=None, note="first"))
    target.admin.execute("UPDATE things SET v = %s", (stored,))
    before = text(target)
    for note, after in (("leave", before[1]), ("merge", "merged"), ("take", "take")):
        target.send(create(id=1, v=None, note=note))
        assert target.dead() == []
        assert text(target) == ((None if note == "take" else before[0]), after)
