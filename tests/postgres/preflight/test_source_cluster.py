"""Log positions are compared only within one PostgreSQL cluster; another cluster is detected."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from sink_runner.errors import ConfigError, FatalError
from sink_runner.model.envelope import Decoded
from sink_runner.plugin import source_wins
from sink_runner.postgres.migrations import migrate
from sink_runner.preflight.source_cluster import ClusterWatch, stored_cluster
from sink_runner.recovery.positions import forget

from .test_preflight import batch

pytestmark = pytest.mark.postgres


def event(partition: int, lsn: int | None, committed: int = 0) -> tuple[Any, Any]:
    """Return a change whose transaction began after the commit at position `committed`."""
    position = {"sequence": f'["{committed}","{lsn}"]', "order": 1}
    return SimpleNamespace(partition=partition), Decoded(
        "c", (), None, lsn, 0, None, None, **position
    )


@pytest.fixture
def watch(tables):
    """Return a function that makes a new watch of the mapping, as each start of a runner does."""
    tables.create()
    with psycopg.connect(tables.config.databases["south"].dsn.read(), autocommit=True) as writer:
        migrate(writer)
        writer.execute("DELETE FROM sink.source_cluster")

    def make() -> ClusterWatch:
        databases = tables.config.databases
        return ClusterWatch(
            "bench", "north", source=databases["north"].reader_dsn, target=databases["south"].dsn
        )

    return make


def change_stored_cluster(tables: Any, settings: str) -> None:
    tables.target.execute(f"UPDATE sink.source_cluster SET {settings}".encode())


def test_first_check_stores_cluster(tables, watch) -> None:
    assert watch().check() is None
    found = stored_cluster(tables.target, "bench")
    (identifier,) = tables.source.execute(
        "SELECT system_identifier::text FROM pg_control_system()"
    ).fetchone()
    assert found is not None
    assert found.identifier == identifier
    assert found.timeline == 1
    assert found.position > 0


def test_event_of_another_cluster_stops_mapping(tables, watch) -> None:
    """Without the check, the event would be skipped as older than the applied ones."""
    one = watch()
    one.check()
    one.observe([event(0, 500), event(1, 90), event(0, 600)])
    change_stored_cluster(tables, "system_identifier = '1'")
    one.observe([event(0, 700), event(1, 100)])
    with pytest.raises(FatalError, match=r"of cluster 1.*sink-runner recover north"):
        one.observe([event(1, 99)])


def test_positions_are_stored_for_next_start(tables, watch) -> None:
    first = watch()
    first.check()
    first.observe([event(0, 500)])
    first.maintain()
    change_stored_cluster(tables, "system_identifier = '1'")
    second = watch()
    second.observe([event(0, 500)])
    with pytest.raises(FatalError, match="of cluster 1"):
        watch().observe([event(0, 499)])


def test_repeated_events_are_accepted(watch) -> None:
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    one.observe([event(0, 400), event(0, None)])


def test_overlapping_transactions_cause_no_check(tables, watch) -> None:
    """A check opens two connections, and overlapping transactions are frequent."""
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    change_stored_cluster(tables, "system_identifier = '1'")
    one.observe([event(0, 400, committed=600)])
    with pytest.raises(FatalError, match="of cluster 1"):
        one.observe([event(0, 450, committed=599)])


def test_shorter_log_is_reported_as_restored(tables, watch) -> None:
    one = watch()
    one.check()
    change_stored_cluster(tables, "position = position + 1000000000000")
    assert "restored" in one.check().problem
    one.observe([event(0, 500)])
    with pytest.raises(FatalError, match="restored"):
        one.observe([event(0, 400)])


def test_promoted_standby_is_accepted(tables, watch) -> None:
    one = watch()
    one.check()
    change_stored_cluster(tables, "timeline = 7, position = position - 5")
    assert one.check() is None
    assert stored_cluster(tables.target, "bench").timeline == 1


def test_failed_cluster_check_is_repeated(tables, watch) -> None:
    """Until the source answers, no event with a lower position than an earlier one is applied."""
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    change_stored_cluster(tables, "system_identifier = '1'")
    dsn, one._source = one._source, "host=127.0.0.1 port=1 connect_timeout=1"
    one.maintain()
    for _ in range(2):
        with pytest.raises(Exception, match="no connection"):
            one.observe([event(0, 400)])
    one._source = dsn
    with pytest.raises(FatalError):
        one.observe([event(0, 400)])


def test_start_warns_and_batch_refuses(tables, watch) -> None:
    """The runner must still apply the rest of the old log, before a batch reads the new cluster."""
    watch().check()
    change_stored_cluster(tables, "system_identifier = '1'")
    assert tables.refusals() == []
    assert any("of cluster 1" in text for text in tables.warnings())
    assert tables.start() == ""
    with pytest.raises(ConfigError, match="of cluster 1"):
        batch(tables)


def test_recover_deletes_stored_cluster(tables, watch) -> None:
    watch().check()
    change_stored_cluster(tables, "system_identifier = '1'")
    with psycopg.connect(tables.config.databases["south"].dsn.read()) as writer:
        forget(writer, "bench", tables.mapping)
    assert tables.mapping.conflict == source_wins()
    assert watch().check() is None


def test_missing_function_privilege_is_reported_with_grant(tables, watch) -> None:
    functions = "FUNCTION pg_control_system(), pg_control_checkpoint()"
    tables.run(tables.source, f"REVOKE EXECUTE ON {functions} FROM PUBLIC")
    try:
        (text,) = tables.refusals()
    finally:
        tables.run(tables.source, f"GRANT EXECUTE ON {functions} TO PUBLIC")
    assert f"GRANT EXECUTE ON {functions} TO sink_reader" in text
