"""Unclassified columns that may be personal: refused, or a warning with `strict = false`."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.batch import session
from sink_runner.batch.plan import Options
from sink_runner.config import Schema
from sink_runner.errors import ConfigError, PolicyError
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.plugin import Query

from .conftest import MappedTables

pytestmark = pytest.mark.postgres

TYPES = ["text", "json", "jsonb", "xml"]
VALUES = {"text": "noted", "json": '{"a": 1}', "jsonb": '{"a": 1}', "xml": "<a/>"}


@pytest.fixture
def tables(postgres: Any) -> Iterator[MappedTables]:
    names = (
        postgres.fresh_database(name, migrated=False)
        for name in ("smart_warehouse", "smart_citizen")
    )
    tables = MappedTables(postgres, tuple(names))
    yield tables
    tables.close()


def batch(tables: MappedTables, *, strict: bool) -> list[str]:
    """Run a full batch and return its warnings about unclassified columns."""
    plugin = Plugin(
        name="bench",
        entry_points=(EntryPoint("bench", "bench", "bench"),),
        status=Status.ON,
        module=ModuleType("bench"),
        mapping=tables.mapping,
    )
    config = replace(tables.config, schema=Schema(strict=strict))
    with capture_logs() as logs:
        session.run(plugin, [plugin], config, Options(full=True), wait=False)
    return [log["problem"] for log in logs if log["event"] == "column_unclassified"]


def prepare(tables: MappedTables, type_: str, query: str | None) -> None:
    table = f"CREATE TABLE {{s}}.t (id int PRIMARY KEY, v {type_})"
    tables.create(table, table)
    tables.run(tables.source, f"INSERT INTO {{s}}.t VALUES (1, '{VALUES[type_]}')")
    select = None if query is None else Query(select=query.replace("{s}", tables.schema))
    tables.mapping = replace(tables.mapping, query=select, streaming=query is None)


QUERIES = [None, "SELECT id, v FROM {s}.t WHERE {changed}", "SELECT id, x.v FROM {s}.t x"]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_", TYPES)
def test_unclassified_source_column_is_refused(
    tables: MappedTables, type_: str, query: str
) -> None:
    prepare(tables, type_, query)
    with pytest.raises((ConfigError, PolicyError), match="classif"):
        batch(tables, strict=True)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_", TYPES)
def test_unclassified_column_is_copied_without_strict(
    tables: MappedTables, type_: str, query: str
) -> None:
    prepare(tables, type_, query)
    warnings = batch(tables, strict=False)
    rows = tables.target.execute(f"SELECT v::text FROM {tables.schema}.t".encode()).fetchall()
    assert rows == [(VALUES[type_],)]
    if query is not None:
        assert f"{tables.schema}.t.v may hold personal data" in warnings[0]
