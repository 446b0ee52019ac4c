"""Too few replication origins: the error names the setting, before and after the start."""

import os
from contextlib import closing
from dataclasses import replace

import pytest
from sink_stack import testing_postgres
from sink_stack.testing_postgres import installed, running

from sink_runner.errors import ConfigError
from sink_runner.loading.discovery import Plugin, Status, streaming
from sink_runner.plugin import TableMapping
from sink_runner.postgres.session import connect, use_origin
from sink_runner.preflight.checklist import check_mapping

from .conftest import MappedTables

pytestmark = pytest.mark.postgres


@pytest.fixture
def small_server():
    """A server with replication origins for two mappings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(testing_postgres._SETTINGS, "max_replication_slots", "2")
        with running(installed(os.environ)[0]) as server:
            yield server


@pytest.fixture
def tables(small_server):
    tables = MappedTables(small_server, ("smart_warehouse", "smart_citizen"))
    tables.create()
    yield tables
    tables.close()


def use_origins(tables: MappedTables, *names: str) -> None:
    """Use the origin of each mapping once, so that the server keeps its state."""
    for name in names:
        dsn = tables.postgres.dsn("smart_citizen", "sink_writer")
        with closing(connect(dsn, name)) as session:
            use_origin(session, name)


def mappings_named(tables: MappedTables, *names: str) -> dict[str, TableMapping]:
    return dict.fromkeys(names, tables.mapping)


def refusals(tables: MappedTables, name: str, mappings: dict[str, TableMapping]) -> list[str]:
    found = check_mapping(name, tables.mapping, tables.config, beside=mappings).findings
    assert {one.check for one in found} <= {"origins"}
    return [one.text for one in found if one.refused]


def test_mapping_without_free_origin_names_setting(tables) -> None:
    use_origins(tables, "one")
    assert tables.preflight().findings == []
    use_origins(tables, "two")
    assert "ALTER SYSTEM SET max_replication_slots = 4" in tables.refusals()[0]
    with pytest.raises(ConfigError, match="max_replication_slots"):
        use_origins(tables, "bench")
    # The failed attempt leaves no origin with the mapping's name behind.
    assert "0 of 2 replication origins free" in tables.refusals()[0]
    name = "FUNCTION pg_show_replication_origin_status()"
    tables.run(tables.target, f"GRANT EXECUTE ON {name} TO sink_writer")
    assert "0 of 2 replication origins free" in tables.refusals()[0]


def test_invisible_origin_states_only_warn(tables) -> None:
    """An origin may have no state; without a GRANT the role cannot see which ones have."""
    for name in ("theirs", "others"):
        tables.target.execute("SELECT pg_replication_origin_create(%s)", (name,))
    assert tables.refusals() == []
    assert "0 of 2 replication origins free" in tables.warnings()[0]
    name = "FUNCTION pg_show_replication_origin_status()"
    tables.run(tables.target, f"GRANT EXECUTE ON {name} TO sink_writer")
    assert tables.preflight().findings == []


def test_origins_of_all_mappings_are_counted(tables) -> None:
    mappings = mappings_named(tables, "alpha", "beta", "gamma", "delta")
    assert refusals(tables, "alpha", mappings) == refusals(tables, "beta", mappings) == []
    for last in ("delta", "gamma"):
        (text,) = refusals(tables, last, mappings)
        assert "2 of 2 replication origins free" in text
        assert "expected 4, one for each" in text
        assert "alpha, beta, delta, gamma" in text
    use_origins(tables, "gamma")  # it already has an origin from an earlier run
    assert refusals(tables, "gamma", mappings) == refusals(tables, "alpha", mappings) == []
    (text,) = refusals(tables, "beta", mappings)
    assert "1 of 2 replication origins free" in text


def test_origins_are_counted_across_databases_of_server(tables) -> None:
    other = replace(tables.mapping, target=f"north.{tables.schema}.t")
    (text,) = refusals(tables, "gamma", {"alpha": other, "beta": tables.mapping})
    assert "expected 3" in text
    elsewhere = replace(tables.mapping, target="unknown.public.t")
    assert refusals(tables, "gamma", {"alpha": elsewhere, "beta": tables.mapping}) == []


def test_start_and_schema_check_count_origins_of_all(tables) -> None:
    use_origins(tables, "one")
    plugins = [
        Plugin(name=name, entry_points=(), status=Status.ON, mapping=tables.mapping)
        for name in ("bench", "alpha")
    ]
    tables.plugins = plugins
    assert "expected 2, one for each" in tables.start()
    found = tables.schema_check(streaming(plugins))
    assert [one.origin for one in found if one.severity == "refused"] == ["origins"]
