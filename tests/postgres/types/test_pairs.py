"""A value is converted between two types, becomes a dead letter, or its mapping is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from sink_runner.errors import ConfigError

from .test_batch_matrix import PLUGIN, Databases

pytestmark = pytest.mark.postgres

HOOK = """
@hookimpl
def sink_map(row):
    return row
"""
CONVERTED = [
    ("int4", "varchar(3)", "5", "5"),
    ("int4", "char(3)", "5", "5"),
    ("int4", "name", "5", "5"),
    ("int8", "numeric(10,2)", "5", "5.00"),
    ("int4", "oid", "5", "5"),
    ("int8", "float4", "16", "16"),
    ("bool", "varchar(5)", "f", "false"),
    ("numeric", "text", "0.00000001", "0.00000001"),
    ("float4", "text", "1e6", "1e+06"),
    ("text", "char(5)", "ab", "ab"),
    ("text", "timestamptz", "2024-01-01 12:00:00+05:30", "2024-01-01 06:30:00+00"),
    ("text", "timestamp", "2024-01-01 12:00:00Z", "2024-01-01 12:00:00"),
    ("text", "timestamp", "2024-01-01 12:00:00.5+00", "2024-01-01 12:00:00.5"),
    ("text", "timestamp", "infinity", "infinity"),
    ("text", "time", "01:00 PM", "13:00:00"),
    ("text", "date", "2024-01-01T00:00:00Z", "2024-01-01"),
    ("text", "date", "0044-03-15 BC", "0044-03-15 BC"),
    ("int4range", "int8range", "[1,5)", "[1,5)"),
]
DEAD_LETTERS = [
    ("text", "char(5)", "ab "),
    ("text", "bpchar", "ab "),
    ("varchar(5)[]", "char(5)[]", '{"ab "}'),
    ("text", "timestamptz", "now"),
    ("text", "timestamp", "Tomorrow 12:00"),
    ("text", "date", "today"),
    ("text", "time", "now"),
    ("text", "timestamp", "2024-01-01 12:00:00+05:30"),
    ("text", "timestamp", "2024-01-01 12:00 Asia/Kolkata"),
    ("text", "time", "12:00 IST"),
    ("text", "time", "2024-01-01 12:00"),
    ("text", "date", "January 8, 1999 04:05"),
    ("jsonb", "date", '"2024-01-01T12:00:00"'),
    ("text", "tsvector", "'"),
    ("text", "tsquery", "a &"),
    ("text", "jsonpath", "$["),
    ("text", "hstore", "nope"),
    ("text", "ltree", "a..b"),
    ("text", "regproc", "no_such"),
]
REFUSED = [
    ("tsrange", "daterange"),
    ("numrange", "floatrange"),
    ("tsmultirange", "datemultirange"),
    ("ordered", "swapped"),
]


class Pair:
    """A table with the types in both databases, and the mapping between them."""

    def __init__(self, databases: Databases, site: Any) -> None:
        self._databases, self._site = databases, site

    def run(self, source: str, target: str, value: str | None = None, *, hook: str = "") -> Any:
        databases = self._databases
        for database, type_ in ((databases.source, source), (databases.target, target)):
            databases.execute(
                database,
                "DROP TABLE IF EXISTS typed",
                f"CREATE TABLE typed (id int PRIMARY KEY, v {type_})",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON typed TO sink_reader, sink_writer",
            )
        databases.execute(databases.source, "ALTER PUBLICATION sink_publication ADD TABLE typed")
        self._site.plugin("typed", PLUGIN.format(table="typed", columns=["id", "v"]) + hook)
        databases.source.execute("INSERT INTO typed VALUES (1, %s)", [value])
        report = databases.run("typed")
        return report, databases.target.execute("SELECT v::text FROM typed").fetchall()


@pytest.fixture(scope="module")
def databases(postgres) -> Iterator[Databases]:
    opened = Databases(postgres)
    for database in (opened.source, opened.target):
        database.prepare_threshold = None
        opened.execute(database, "CREATE TYPE ordered AS (a int, b int)")
        opened.execute(database, "CREATE TYPE swapped AS (b int, a int)")
    yield opened
    opened.close()


@pytest.fixture
def pair(databases: Databases, site) -> Pair:
    return Pair(databases, site)


@pytest.mark.parametrize(("types", "value", "expected"), [(one[:2], *one[2:]) for one in CONVERTED])
@pytest.mark.parametrize("hook", ["", HOOK], ids=["declared", "hook"])
def test_value_is_converted(
    pair: Pair, types: tuple[str, str], value: str, expected: str, hook: str
) -> None:
    report, found = pair.run(*types, value, hook=hook)
    assert found == [(expected,)], report.json()


@pytest.mark.parametrize(("source", "target", "value"), DEAD_LETTERS)
def test_value_becomes_dead_letter(pair: Pair, source: str, target: str, value: str) -> None:
    report, found = pair.run(source, target, value)
    assert (found, report.counts["failed"]) == ([], 1), report.json()
    assert all("'v'" in error for _, error in report.failures), report.json()


@pytest.mark.parametrize(("source", "target"), REFUSED)
def test_types_are_refused(pair: Pair, source: str, target: str) -> None:
    with pytest.raises(ConfigError, match="column v of"):
        pair.run(source, target)
