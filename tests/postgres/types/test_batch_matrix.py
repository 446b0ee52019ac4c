"""A batch run copies values of every type and shape, so that their texts are equal.

Each group of types has a table with a column for each type and shape; a row has one literal of
every column. The first run inserts the rows, the second one writes nothing, the third one copies
another literal of every value, and the last one removes the rows.
"""

import base64
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import psycopg
import pytest

from sink_runner.batch import session
from sink_runner.batch.session import Options, Report
from sink_runner.config import Batch, Config, Database, DeadLetters, Kafka, Registry, Schema
from sink_runner.config.dsn import Dsn
from sink_runner.loading import discovery

from ...support.type_shapes import (
    Shape,
    bounded_literals,
    domains,
    empty_literals,
    literal_sql,
    shaped_literal,
    type_sql,
)
from ...support.type_values import EXTENSION_NAMES, TYPES, TypeValues

pytestmark = pytest.mark.postgres

_TYPES_PER_TABLE = 8  # each has seven shapes, and a mapping has at most 63 columns
GROUPS = [TYPES[at : at + _TYPES_PER_TABLE] for at in range(0, len(TYPES), _TYPES_PER_TABLE)]
ALL_NULL = 1000
PLUGIN = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.matrix.{table}", target="smart_citizen.matrix.{table}",
        key=("id",), conflict=source_wins(),
        columns=tuple(map(Column, {columns!r})),
    )
"""


class Databases:
    """A source and a target database with all types, and batch runs between them."""

    def __init__(self, postgres: Any) -> None:
        self._postgres = postgres
        self._names = {
            name: postgres.fresh_database(name) for name in ("smart_warehouse", "smart_citizen")
        }
        self.source, self.target = (
            psycopg.connect(postgres.dsn(name), autocommit=True) for name in self._names.values()
        )
        for database in (self.source, self.target):
            self.execute(database, *self._type_statements())

    @staticmethod
    def execute(database: psycopg.Connection, *statements: str) -> None:
        for statement in statements:
            database.execute(statement.encode())

    @staticmethod
    def _type_statements() -> list[str]:
        statements = ["CREATE SCHEMA matrix", "CREATE SCHEMA extensions"]
        statements += ["GRANT USAGE ON SCHEMA matrix, extensions TO sink_reader, sink_writer"]
        statements += ["SET search_path = matrix, extensions"]
        statements += [f"CREATE EXTENSION {name} SCHEMA extensions" for name in EXTENSION_NAMES]
        for values in TYPES:
            statements += [values.setup] if values.setup else []
            statements += domains(values)
        return statements

    @cached_property
    def config(self) -> Config:
        databases = {
            name: Database(
                dsn=Dsn.of(self._postgres.dsn(actual, "sink_writer")),
                reader_dsn=Dsn.of(self._postgres.dsn(actual, "sink_reader")),
            )
            for name, actual in self._names.items()
        }
        return Config(
            kafka=Kafka(bootstrap="127.0.0.1:1"),
            registry=Registry(url="http://127.0.0.1:1"),
            databases=databases,
            dead_letters=DeadLetters(key=base64.b64encode(bytes(32)).decode(), key_id="test"),
            schema=Schema(strict=False),
            batch=Batch(max_rows=5, settle_seconds=0.3),
            retry_steps=(0.05,),
        )

    def run(self, mapping: str) -> Report:
        installed = discovery.installed()
        discovery.load(installed[mapping])
        plugins = discovery.usable([installed[mapping]])
        report = session.run(plugins[0], plugins, self.config, Options(full=True), wait=False)
        assert report is not None
        return report

    def close(self) -> None:
        self.source.close()
        self.target.close()


@pytest.fixture(scope="module")
def databases(postgres) -> Iterator[Databases]:
    opened = Databases(postgres)
    yield opened
    opened.close()


class Table:
    """One group's table in both databases."""

    def __init__(self, databases: Databases, name: str, group: tuple[TypeValues, ...]) -> None:
        self._databases = databases
        self.name = name
        self._cells = {
            f"{values.name}__{shape}": (values, shape) for values in group for shape in Shape
        }
        self.columns = ["id", *self._cells]
        defined = ", ".join(f'"{column}" {type_sql(*cell)}' for column, cell in self._cells.items())
        grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO sink_reader, sink_writer"
        for database in (databases.source, databases.target):
            databases.execute(
                database, f"CREATE TABLE {name} (id int PRIMARY KEY, {defined})", grant
            )
        databases.execute(databases.source, f"ALTER PUBLICATION sink_publication ADD TABLE {name}")

    def literals(self, column: str) -> list[str]:
        values, shape = self._cells[column]
        plain = values.all_literals()
        shaped = [shaped_literal(values, shape, one, plain[0]) for one in plain]
        return [*shaped, *empty_literals(shape), *bounded_literals(values, shape)]

    def replacements(self, column: str) -> dict[str, str]:
        """Return another literal for each one: an equal value if there is one, else the next."""
        values, shape = self._cells[column]
        literals = self.literals(column)
        replacements = dict(zip(literals, [*literals[1:], literals[0]], strict=True))
        first = values.all_literals()[0]
        for pair in values.equal_pairs:
            one, other = (shaped_literal(values, shape, literal, first) for literal in pair)
            replacements |= {one: other, other: one}
        return replacements

    def insert(self) -> None:
        rows = max(len(self.literals(column)) for column in self._cells)
        for number in range(rows):
            self._insert_row(number, {c: self._literal(c, number) for c in self._cells})
        self._databases.execute(
            self._databases.source, f"INSERT INTO {self.name} VALUES ({ALL_NULL})"
        )

    def replace_values(self) -> None:
        rows = max(len(self.literals(column)) for column in self._cells)
        self._databases.execute(self._databases.source, f"TRUNCATE {self.name}")
        for number in range(rows):
            self._insert_row(
                number, {c: self.replacements(c)[self._literal(c, number)] for c in self._cells}
            )

    def _literal(self, column: str, number: int) -> str:
        literals = self.literals(column)
        return literals[number % len(literals)]

    def _insert_row(self, number: int, row: dict[str, str]) -> None:
        values = ", ".join(map(literal_sql, row.values()))
        names = ", ".join(f'"{name}"' for name in row)
        self._databases.execute(
            self._databases.source,
            f"INSERT INTO {self.name} (id, {names}) VALUES ({number}, {values})",
        )

    def texts(self, database: psycopg.Connection) -> dict[tuple[int, str], str | None]:
        names = ", ".join(f'"{name}"::text' for name in self._cells)
        query = f"SELECT id, {names} FROM {self.name}"
        return {
            (number, name): value
            for number, *values in database.execute(query.encode()).fetchall()
            for name, value in zip(self._cells, values, strict=True)
        }

    def differences(self) -> dict[tuple[int, str], tuple[Any, Any]]:
        """Return the source's and the target's text of each cell that differs."""
        source, target = (
            self.texts(database) for database in (self._databases.source, self._databases.target)
        )
        return {
            cell: (source.get(cell, "(no row)"), target.get(cell, "(no row)"))
            for cell in source.keys() | target.keys()
            if source.get(cell, "(no row)") != target.get(cell, "(no row)")
        }


def is_clean(report: Report) -> bool:
    """Whether all rows were written, and the check after the run found no different row."""
    fields = report.checks["fields"]
    return report.is_good(0) and fields["different"] == 0 and fields["compared"] > 0


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0].name)
def test_batch_copies_every_value_of_every_shape(databases: Databases, site, group) -> None:
    table = Table(databases, f"t_{group[0].name}", group)
    mapping = table.name.replace("_", "-")
    site.plugin(mapping, PLUGIN.format(table=table.name, columns=table.columns))
    table.insert()
    report = databases.run(mapping)
    assert table.differences() == {}, report.json()
    assert is_clean(report), report.json()

    report = databases.run(mapping)
    assert (report.counts["written"], is_clean(report)) == (0, True), report.json()

    table.replace_values()
    report = databases.run(mapping)
    assert table.differences() == {}, report.json()
    assert is_clean(report), report.json()

    databases.execute(databases.source, f"TRUNCATE {table.name}")
    report = databases.run(mapping)
    assert table.texts(databases.target) == {}, report.json()
