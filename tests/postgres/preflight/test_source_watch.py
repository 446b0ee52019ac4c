"""A source table that is altered while its mapping runs is checked again."""

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


STOPPED_CLOCK = Clock()


@pytest.fixture
def watch(tables):
    """Return a function that makes watches; each counts its checks and is closed afterwards."""
    watches = []

    def make(clock: Any = STOPPED_CLOCK) -> SourceWatch:
        def check() -> None:
            one.checks += 1
            tables.preflight().catalogs()

        reader = tables.config.databases["north"].reader_dsn
        one = SourceWatch("bench", tables.mapping, source=reader, check=check, clock=clock)
        one.checks = 0
        one.start()
        watches.append(one)
        return one

    tables.create(SOURCE)
    yield make
    for one in watches:
        one.close()


def events(*ops: str) -> list[tuple[Any, Any]]:
    return [(None, SimpleNamespace(op=op)) for op in ops]


def test_delete_without_key_is_refused(tables, watch) -> None:
    """Debezium would write 0 for an id that the write-ahead log does not contain."""
    one = watch()
    one.observe(events("d"))
    tables.run(tables.source, BY_INDEX)
    one.observe(events("c", "r", "u"))
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("c", "d"))
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("d"))
    tables.run(tables.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    one.observe(events("d"))


def test_change_before_first_delete_is_detected(tables, watch) -> None:
    one = watch()
    tables.run(tables.source, BY_INDEX)
    with pytest.raises(ConfigError, match=REMEDY):
        one.observe(events("d"))


def test_update_without_before_image_is_refused(tables, watch) -> None:
    tables.mapping = replace(tables.mapping, needs_before_image=True)
    tables.run(tables.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    one = watch()
    one.observe(events("u"))
    tables.run(tables.source, "ALTER TABLE {s}.t REPLICA IDENTITY DEFAULT")
    with pytest.raises(ConfigError, match="needs the whole row"):
        one.observe(events("u"))


def test_changed_primary_key_is_detected(tables, watch) -> None:
    one = watch()
    one.observe(events("d"))
    tables.run(tables.source, "ALTER TABLE {s}.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)")
    with pytest.raises(ConfigError, match="of a delete lacks id"):
        one.observe(events("d"))


def test_changed_identity_of_partition_is_detected(tables, watch) -> None:
    tables.run(
        tables.source,
        "ALTER PUBLICATION sink_publication SET (publish_via_partition_root = true);"
        "DROP TABLE {s}.t; CREATE TABLE {s}.t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (100);"
        "GRANT SELECT ON {s}.t TO sink_reader; ALTER PUBLICATION sink_publication ADD TABLE {s}.t",
    )
    one = watch()
    one.observe(events("d"))
    tables.run(tables.source, "ALTER TABLE {s}.low REPLICA IDENTITY NOTHING")
    with pytest.raises(ConfigError, match="is nothing"):
        one.observe(events("d"))
    via_root = "ALTER PUBLICATION sink_publication SET (publish_via_partition_root = false)"
    tables.run(tables.source, via_root)


def test_altered_source_is_checked_once(tables, watch) -> None:
    one = watch()
    one.observe(events("d"))
    assert one.checks == 0
    tables.run(tables.source, "ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    for _ in range(3):
        one.observe(events("d"))
    assert one.checks == 1


def test_source_is_checked_when_due(tables, watch) -> None:
    """A table that leaves the publication sends no event that could trigger the check."""
    clock = Clock()
    one = watch(clock)
    tables.run(tables.source, "ALTER PUBLICATION sink_publication DROP TABLE {s}.t")
    one.maintain()
    clock.now = SECONDS
    with pytest.raises(ConfigError, match="its changes are never captured"):
        one.maintain()
    one.maintain()
    assert one.checks == 1


REPLACE_TABLE = (
    "CREATE TABLE {s}.other (id int PRIMARY KEY, v text);"
    "GRANT SELECT ON {s}.other TO sink_reader;"
    "ALTER TABLE {s}.t RENAME TO old; ALTER TABLE {s}.other RENAME TO t;"
    "ALTER PUBLICATION sink_publication ADD TABLE {s}.t"
)


@pytest.mark.parametrize("op", ["d", ""])
def test_replaced_table_is_reported(tables, watch, op: str) -> None:
    """Neither the rows of the new table nor the loss of the old ones caused events."""
    clock = Clock()
    one = watch(clock)
    one.observe(events("c"))
    tables.run(tables.source, REPLACE_TABLE)
    clock.now = SECONDS
    with pytest.raises(ConfigError, match=r"another table has its name.*batch bench --full"):
        one.observe(events(op)) if op else one.maintain()


def test_lost_connection_is_opened_again(tables, watch) -> None:
    clock = Clock()
    one = watch(clock)
    one.observe(events("d"))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    tables.source.execute(end, ("sink-runner source",))
    with pytest.raises(RetriableError):
        one.observe(events("d"))
    one.observe(events("d"))
