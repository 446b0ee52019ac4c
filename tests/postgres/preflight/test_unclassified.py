"""A column that may hold personal data and that nobody has classified, by [schema] strict."""

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

from .conftest import Bench

pytestmark = pytest.mark.postgres

TYPES = ["text", "json", "jsonb", "xml"]
VALUES = {"text": "noted", "json": '{"a": 1}', "jsonb": '{"a": 1}', "xml": "<a/>"}


@pytest.fixture
def bench(postgres: Any) -> Iterator[Bench]:
    names = (postgres.fresh_database(name) for name in ("smart_warehouse", "smart_citizen"))
    bench = Bench(postgres, tuple(names))
    yield bench
    bench.close()


def batch(bench: Bench, *, strict: bool) -> list[str]:
    """Run a full batch; what it warns of."""
    plugin = Plugin(
        name="bench",
        entry_points=(EntryPoint("bench", "bench", "bench"),),
        status=Status.ON,
        module=ModuleType("bench"),
        mapping=bench.mapping,
    )
    config = replace(bench.config, schema=Schema(strict=strict))
    with capture_logs() as logs:
        session.run(plugin, [plugin], config, Options(full=True), wait=False)
    return [log["problem"] for log in logs if log["event"] == "column_unclassified"]


def prepare(bench: Bench, type_: str, query: str | None) -> None:
    table = f"CREATE TABLE {{s}}.t (id int PRIMARY KEY, v {type_})"
    bench.tables(table, table)
    bench.run(bench.source, f"INSERT INTO {{s}}.t VALUES (1, '{VALUES[type_]}')")
    select = None if query is None else Query(select=query.replace("{s}", bench.schema))
    bench.mapping = replace(bench.mapping, query=select, streaming=query is None)


QUERIES = [None, "SELECT id, v FROM {s}.t WHERE {changed}", "SELECT id, x.v FROM {s}.t x"]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_", TYPES)
def test_unclassified_column_of_a_source_is_refused(bench: Bench, type_: str, query: str) -> None:
    prepare(bench, type_, query)
    with pytest.raises((ConfigError, PolicyError), match="classif"):
        batch(bench, strict=True)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_", TYPES)
def test_without_strict_it_is_carried_alike(bench: Bench, type_: str, query: str) -> None:
    prepare(bench, type_, query)
    warned = batch(bench, strict=False)
    rows = bench.target.execute(f"SELECT v::text FROM {bench.schema}.t".encode()).fetchall()
    assert rows == [(VALUES[type_],)]
    if query is not None:
        assert f"{bench.schema}.t.v may hold personal data" in warned[0]
