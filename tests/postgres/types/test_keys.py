"""Equal keys with different texts identify one row, by batch and by stream, for every type.

Examples are 1.0 and 1.00 of numeric, and `alice` and `Alice` of citext.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from sink_runner.testing import NOW, TargetHarness, create, truncate, update

from .test_batch_matrix import Databases, is_clean

pytestmark = pytest.mark.postgres

PLUGIN = """
from sink_runner.plugin import *

BATCH_ONLY = {{"streaming": False, "schedules": (Schedule("0 0 * * *"),)}}

@hookimpl
def sink_mapping():
    columns = tuple(map(Column, {columns!r}))
    return TableMapping(
        source="smart_warehouse.matrix.keyed", target="smart_citizen.matrix.keyed",
        **{{"key": ("k",), "conflict": source_wins(), "columns": columns}} | dict({declared}),
    )
"""
EQUAL_KEYS = {
    "citext": ("extensions.citext", "alice", "Alice"),
    "numeric": ("numeric", "1.0", "1.00"),
    "domain": ("d_numeric", "2.0", "2.00"),
    "bounded": ("numeric(10,2)", "3", "3.00"),
    "padded": ("char(5)", "ab", "ab  "),
    "float": ("float8", "0", "-0"),
    "interval": ("interval", "1 mon", "30 days"),
    "jsonb": ("jsonb", "1.0", "1.00"),
    "range": ("numrange", "[1.0,2]", "[1.00,2]"),
    "numbers": ("numeric[]", "{1.0,2}", "{1.00,2}"),
    "composite": ("pair", "(1,a)", "(1,a)"),
    "hstore": ("extensions.hstore", '"a"=>"1"', '"a"=>"1"'),
    "ltree": ("extensions.ltree", "Top.Science", "Top.Science"),
    "folded": ("text COLLATE nocase", "Éa", "éA"),
    "text": ("text", "a", "a"),
    "enum": ("mood", "sad", "sad"),
    "bytes": ("bytea", "\\x00ff", "\\x00ff"),
    "moment": ("timestamptz", "2024-01-01 00:00:00+00", "2024-01-01 05:30:00+05:30"),
}
NOCASE = (
    "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


@pytest.fixture(scope="module")
def module_databases(postgres) -> Iterator[Databases]:
    opened = Databases(postgres)
    for database in (opened.source, opened.target):
        opened.execute(database, NOCASE)
        database.prepare_threshold = None
    yield opened
    opened.close()


class KeyedTable:
    """A table with a key `k` in both databases, and the mapping between them."""

    def __init__(self, databases: Databases, postgres: Any, site: Any) -> None:
        self.databases, self._postgres, self._site = databases, postgres, site
        self.source, self.target = databases.source, databases.target

    def create(self, source: str, target: str = "", *, columns: list[str], declared: str) -> None:
        for database, ddl in ((self.source, source), (self.target, target or source)):
            self.databases.execute(
                database,
                "DROP TABLE IF EXISTS keyed",
                f"CREATE TABLE keyed ({ddl})",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON keyed TO sink_reader, sink_writer",
            )
        self.databases.execute(self.source, "ALTER PUBLICATION sink_publication ADD TABLE keyed")
        self._site.plugin("keyed", PLUGIN.format(columns=columns, declared=declared))

    def stream(self) -> TargetHarness:
        name = self.target.info.dbname
        dsn = self._postgres.dsn(name, "sink_writer")
        return TargetHarness("keyed", dsn=dsn, admin_dsn=self._postgres.dsn(name))

    def texts(self, database: psycopg.Connection) -> list[tuple[str, ...]]:
        return database.execute("SELECT keyed::text FROM keyed ORDER BY 1").fetchall()


@pytest.fixture
def keyed(module_databases: Databases, postgres, site) -> Iterator[KeyedTable]:
    table = KeyedTable(module_databases, postgres, site)
    yield table
    for name in ("row_version", "callback_row", "batch_key", "batch_run", "truncation"):
        table.target.execute(f"DELETE FROM sink.{name}".encode())


def test_batch_finds_keys_of_all_types(keyed: KeyedTable) -> None:
    """One key has columns of all types: it is inserted, replaced by an equal key, and deleted."""
    types = ", ".join(f"{name} {type_}" for name, (type_, *_) in EQUAL_KEYS.items())
    ddl = f"{types}, v text, PRIMARY KEY ({', '.join(EQUAL_KEYS)})"
    declared = f"BATCH_ONLY, key={tuple(EQUAL_KEYS)!r}"
    keyed.create(ddl, columns=[*EQUAL_KEYS, "v"], declared=declared)
    for at, statement in enumerate(
        (
            f"INSERT INTO keyed VALUES ({', '.join('%s' for _ in EQUAL_KEYS)})",
            f"UPDATE keyed SET v = 'new', {', '.join(f'{name} = %s' for name in EQUAL_KEYS)}",
        ),
        start=1,
    ):
        keyed.source.execute(statement.encode(), [texts[at] for texts in EQUAL_KEYS.values()])
        report = keyed.databases.run("keyed")
        assert keyed.texts(keyed.target) == keyed.texts(keyed.source), report.json()
        assert is_clean(report), report.json()
        assert report.counts["written"] == 1
    keyed.databases.execute(keyed.source, "DELETE FROM keyed")
    keyed.databases.run("keyed")
    assert keyed.texts(keyed.target) == []


@pytest.mark.parametrize("column", EQUAL_KEYS)
def test_batch_copies_equal_key_with_another_text(keyed: KeyedTable, column: str) -> None:
    type_, one, other = EQUAL_KEYS[column]
    keyed.create(f"k {type_} PRIMARY KEY, v text", columns=["k", "v"], declared="BATCH_ONLY")
    for key in (one, other):
        keyed.source.execute("DELETE FROM keyed")
        keyed.source.execute("INSERT INTO keyed VALUES (%s, 'same')", [key])
        report = keyed.databases.run("keyed")
        assert keyed.texts(keyed.target) == keyed.texts(keyed.source), report.json()
        assert is_clean(report), report.json()


@pytest.mark.parametrize(
    ("source", "target", "key"),
    [
        ("numeric", "numeric(10,2)", "1"),
        ("varchar(9)", "char(5)", "ab"),
        ("date", "timestamptz", None),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_batch_query_keeps_its_rows(
    keyed: KeyedTable, source: str, target: str, key: str | None, *, shared: bool
) -> None:
    query = 'Query(select="SELECT k, v FROM matrix.keyed")'
    keyed.create(
        f"k {source} PRIMARY KEY, v varchar(9)",
        f"k {target} PRIMARY KEY, v varchar(9)",
        columns=["k", "v"],
        declared=f"BATCH_ONLY, shared_target={shared}, query={query}",
    )
    keyed.source.execute("INSERT INTO keyed VALUES (%s, 'v')", [key or "2024-01-01"])
    for _ in range(2):
        report = keyed.databases.run("keyed")
        assert (len(keyed.texts(keyed.target)), report.counts["gone"]) == (1, 0), report.json()
    keyed.databases.execute(keyed.source, "DELETE FROM keyed")
    keyed.databases.run("keyed")
    assert keyed.texts(keyed.target) == []


STORED_KEYS = pytest.mark.parametrize(
    ("type_", "key"), [("numeric(10,2)", Decimal(1)), ("char(5)", "ab"), ("float8", -0.0)]
)


@STORED_KEYS
def test_batch_keeps_callback_row_of_any_key(keyed: KeyedTable, type_: str, key: Any) -> None:
    keyed.create(f"k {type_} PRIMARY KEY, v text", columns=["k", "v"], declared="")
    stream = keyed.stream()
    stream.send(replace(create(k=key, v="called"), position=None))
    stream.close()
    report = keyed.databases.run("keyed")
    assert len(keyed.texts(keyed.target)) == 1, report.json()


@STORED_KEYS
def test_truncate_keeps_newer_row_of_any_key(keyed: KeyedTable, type_: str, key: Any) -> None:
    declared = "on_truncate=OnTruncate.EMPTY"
    keyed.create(f"k {type_} PRIMARY KEY, v text", columns=["k", "v"], declared=declared)
    stream = keyed.stream()
    stream.send(replace(create(k=key, v="newer"), position=50))
    stream.send(replace(truncate(), position=20))
    stream.close()
    assert len(keyed.texts(keyed.target)) == 1


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("numeric", Decimal("1.0"), Decimal("1.00")),
        ("extensions.citext", "alice", "Alice"),
        ("text COLLATE nocase", "alice", "Alice"),
    ],
)
@pytest.mark.parametrize("conflict", ["merge_changed('at')", "newest_wins('at')", "source_wins()"])
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_event_with_equal_key_updates_row(
    keyed: KeyedTable, type_: str, one: Any, other: Any, conflict: str, *, in_one_batch: bool
) -> None:
    """The row is updated, not deleted or inserted again."""
    keyed.create(
        f"id int PRIMARY KEY, k {type_}, v text, at timestamp",
        f"k {type_} PRIMARY KEY, v text, at timestamp",
        columns=["k", "v", "at"],
        declared=f"conflict={conflict}, needs_before_image=True",
    )
    row = {"k": one, "v": "old", "at": NOW}
    first = replace(create(**row), position=10)
    changed = {"k": other, "v": "new", "at": NOW + timedelta(seconds=1)}
    second = replace(update(row, **changed), position=20)
    stream = keyed.stream()
    for batch in [(first, second)] if in_one_batch else [(first,), (second,)]:
        stream.send(*batch)
    found = [(str(row["k"]), row["v"]) for row in stream.rows()]
    stream.close()
    assert found == [(str(other), "new")]
