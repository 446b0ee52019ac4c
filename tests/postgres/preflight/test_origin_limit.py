"""A server with too few replication origins names the setting, before and while a mapping runs."""

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

from .conftest import Bench

pytestmark = pytest.mark.postgres


@pytest.fixture
def small_server():
    """A server that has origins for two mappings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(testing_postgres._SETTINGS, "max_replication_slots", "2")
        with running(installed(os.environ)[0]) as server:
            yield server


@pytest.fixture
def bench(small_server):
    bench = Bench(small_server, ("smart_warehouse", "smart_citizen"))
    bench.tables()
    yield bench
    bench.close()


def use(bench: Bench, *names: str) -> None:
    """Each of the mappings takes an origin, whose state the server keeps."""
    for name in names:
        dsn = bench.postgres.dsn("smart_citizen", "sink_writer")
        with closing(connect(dsn, name)) as session:
            use_origin(session, name)


def beside(bench: Bench, *names: str) -> dict[str, TableMapping]:
    return dict.fromkeys(names, bench.mapping)


def refused(bench: Bench, name: str, mappings: dict[str, TableMapping]) -> list[str]:
    found = check_mapping(name, bench.mapping, bench.config, beside=mappings).findings
    assert {one.check for one in found} <= {"origins"}
    return [one.text for one in found if one.refused]


def test_mapping_without_a_free_origin_names_the_setting(bench) -> None:
    use(bench, "one")
    assert bench.preflight().findings == []
    use(bench, "two")
    assert "ALTER SYSTEM SET max_replication_slots = 4" in bench.texts()[0]
    with pytest.raises(ConfigError, match="max_replication_slots"):
        use(bench, "bench")
    # What failed leaves no name behind that passes for an origin of the mapping.
    assert "0 of 2 replication origins free" in bench.texts()[0]
    name = "FUNCTION pg_show_replication_origin_status()"
    bench.run(bench.target, f"GRANT EXECUTE ON {name} TO sink_writer")
    assert "0 of 2 replication origins free" in bench.texts()[0]


def test_hidden_origins_of_others_only_warn(bench) -> None:
    """A name need not have a state, and only a role with a GRANT sees which have."""
    for name in ("theirs", "others"):
        bench.target.execute("SELECT pg_replication_origin_create(%s)", (name,))
    assert bench.texts() == []
    assert "0 of 2 replication origins free" in bench.warnings()[0]
    name = "FUNCTION pg_show_replication_origin_status()"
    bench.run(bench.target, f"GRANT EXECUTE ON {name} TO sink_writer")
    assert bench.preflight().findings == []


def test_origins_of_all_mappings_are_counted_first(bench) -> None:
    mappings = beside(bench, "alpha", "beta", "gamma", "delta")
    assert refused(bench, "alpha", mappings) == refused(bench, "beta", mappings) == []
    for late in ("delta", "gamma"):
        (text,) = refused(bench, late, mappings)
        assert "2 of 2 replication origins free" in text
        assert "expected 4, one for each" in text
        assert "alpha, beta, delta, gamma" in text
    use(bench, "gamma")  # it came first in another run
    assert refused(bench, "gamma", mappings) == refused(bench, "alpha", mappings) == []
    (text,) = refused(bench, "beta", mappings)
    assert "1 of 2 replication origins free" in text


def test_origins_count_mappings_of_other_databases_of_server(bench) -> None:
    other = replace(bench.mapping, target=f"north.{bench.schema}.t")
    (text,) = refused(bench, "gamma", {"alpha": other, "beta": bench.mapping})
    assert "expected 3" in text
    elsewhere = replace(bench.mapping, target="nowhere.public.t")
    assert refused(bench, "gamma", {"alpha": elsewhere, "beta": bench.mapping}) == []


def test_start_and_schema_check_count_origins_of_all(bench) -> None:
    use(bench, "one")
    plugins = [
        Plugin(name=name, entry_points=(), status=Status.ON, mapping=bench.mapping)
        for name in ("bench", "alpha")
    ]
    bench.plugins = plugins
    assert "expected 2, one for each" in bench.start()
    found = bench.schema_check(streaming(plugins))
    assert [one.origin for one in found if one.severity == "refused"] == ["origins"]
