"""A source that is altered under a running mapping is checked again."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.errors import ConfigError, RetriableError
from sink_runner.preflight.source_watch import SECONDS, SourceWatch

pytestmark = pytest.mark.postgres

SOURCE = "CREATE TABLE {s}.t (id int PRIMARY KEY, v text NOT NULL CONSTRAINT codes UNIQUE)"
BY_INDEX = "ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX codes"
REMEDY = (
    r"of a delete lacks id.*REPLICA IDENTITY DEFAULT; then run `sink-runner batch bench --full`"
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


STILL = Clock()


@pytest.fixture
def watch(bench):
    """Give watches that count their checks, and close them in the end."""
    made = []

    def make(clock: Any = STILL) -> SourceWatch:
        def check() -> None:
            one.checks += 1
            bench.preflight().catalogs()

        reader = bench.config.databases["north"].reader_dsn
        one = SourceWatch("bench", bench.mapping, source=reader, check=check, clock=clock)
        one.checks = 0
        one.start()
        made.append(one)
        return one

    bench.tables(SOURCE)
    yield make
    for one in made:
        one.close()


def events(*ops: str) -> list[tuple[Any, Any]]:
    return [(None, SimpleNamespace(op=op)) for op in ops]


def test_delete_without_its_key_is_refused(bench, watch) -> None:
    """Debezium writes 0 for the id that the log does not have."""
    one = watch()
    one.observe(events("d"))
    bench.run(bench.source, BY_INDEX)
    one.observe(events("c", "r", "u"))
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("c", "d"))
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("d"))
    bench.run(bench.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    one.observe(events("d"))


def test_change_before_the_first_delete_is_noticed(bench, watch) -> None:
    one = watch()
    bench.run(bench.source, BY_INDEX)
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("d"))


def test_update_without_its_old_row_is_refused(bench, watch) -> None:
    bench.mapping = replace(bench.mapping, needs_before_image=True)
    bench.run(bench.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    one = watch()
    one.observe(events("u"))
    bench.run(bench.source, "ALTER TABLE {s}.t REPLICA IDENTITY DEFAULT")
    with pytest.raises(ConfigError, match="needs the whole row"):
        one.observe(events("u"))


def test_another_primary_key_is_noticed(bench, watch) -> None:
    one = watch()
    one.observe(events("d"))
    bench.run(bench.source, "ALTER TABLE {s}.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)")
    with pytest.raises(ConfigError, match="of a delete lacks id"):
        one.observe(events("d"))


def test_partition_with_another_identity_is_noticed(bench, watch) -> None:
    bench.run(
        bench.source,
        "ALTER PUBLICATION sink_publication SET (publish_via_partition_root = true);"
        "DROP TABLE {s}.t; CREATE TABLE {s}.t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (100);"
        "GRANT SELECT ON {s}.t TO sink_reader; ALTER PUBLICATION sink_publication ADD TABLE {s}.t",
    )
    one = watch()
    one.observe(events("d"))
    bench.run(bench.source, "ALTER TABLE {s}.low REPLICA IDENTITY NOTHING")
    with pytest.raises(ConfigError, match="is nothing"):
        one.observe(events("d"))
    via_root = "ALTER PUBLICATION sink_publication SET (publish_via_partition_root = false)"
    bench.run(bench.source, via_root)


def test_altered_source_is_checked_once(bench, watch) -> None:
    one = watch()
    one.observe(events("d"))
    assert one.checks == 0
    bench.run(bench.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    for _ in range(3):
        one.observe(events("d"))
    assert one.checks == 1


def test_source_is_checked_when_due(bench, watch) -> None:
    """No event tells that there will be none any more."""
    clock = Clock()
    one = watch(clock)
    bench.run(bench.source, "ALTER PUBLICATION sink_publication DROP TABLE {s}.t")
    one.maintain()
    clock.now = SECONDS
    with pytest.raises(ConfigError, match="its changes are never captured"):
        one.maintain()
    one.maintain()
    assert one.checks == 1


REPLACED = (
    "CREATE TABLE {s}.other (id int PRIMARY KEY, v text);"
    "GRANT SELECT ON {s}.other TO sink_reader;"
    "ALTER TABLE {s}.t RENAME TO old; ALTER TABLE {s}.other RENAME TO t;"
    "ALTER PUBLICATION sink_publication ADD TABLE {s}.t"
)


@pytest.mark.parametrize("op", ["d", ""])
def test_table_that_was_replaced_is_told(bench, watch, op: str) -> None:
    """Its rows came without events, and those of the old one went without any."""
    clock = Clock()
    one = watch(clock)
    one.observe(events("c"))
    bench.run(bench.source, REPLACED)
    clock.now = SECONDS
    with pytest.raises(ConfigError, match=r"another table has its name.*batch bench --full"):
        one.observe(events(op)) if op else one.maintain()


def test_database_that_is_away_is_asked_again(bench, watch) -> None:
    clock = Clock()
    one = watch(clock)
    one.observe(events("d"))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    bench.source.execute(end, ("sink-runner source",))
    with pytest.raises(RetriableError):
        one.observe(events("d"))
    one.observe(events("d"))
