"""A server with too few replication origins names the setting, before and while a mapping runs."""

import os
from contextlib import closing

import pytest
from sink_stack import testing_postgres
from sink_stack.testing_postgres import installed, running

from sink_runner.errors import ConfigError
from sink_runner.target.session import connect, use_origin

from .conftest import Bench

pytestmark = pytest.mark.postgres


@pytest.fixture
def small_server():
    """A server that has origins for two mappings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(testing_postgres._SETTINGS, "max_replication_slots", "2")
        with running(installed(os.environ)[0]) as server:
            yield server


def test_mapping_without_a_free_origin_names_the_setting(small_server) -> None:
    bench = Bench(small_server, ("smart_warehouse", "smart_citizen"))
    bench.tables()
    dsn = small_server.dsn("smart_citizen", "sink_writer")
    with (
        closing(connect(dsn, "one")) as one,
        closing(connect(dsn, "two")) as two,
        closing(connect(dsn, "three")) as three,
    ):
        use_origin(one, "one")
        assert bench.preflight().findings == []
        use_origin(two, "two")
        assert any("max_replication_slots" in text for text in bench.warnings())
        with pytest.raises(ConfigError, match="max_replication_slots"):
            use_origin(three, "three")
    name = "FUNCTION pg_show_replication_origin_status()"
    bench.run(bench.target, f"GRANT EXECUTE ON {name} TO sink_writer")
    (text,) = bench.texts()
    assert "2 of 2 are in use" in text
    assert "ALTER SYSTEM SET max_replication_slots" in text
    bench.close()
