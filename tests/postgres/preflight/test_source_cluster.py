"""Log positions are compared within one cluster only; a change of the cluster is noticed."""

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
    """A change whose transaction began after the commit at `committed`."""
    told = {"sequence": f'["{committed}","{lsn}"]', "order": 1}
    return SimpleNamespace(partition=partition), Decoded("c", (), None, lsn, 0, None, None, **told)


@pytest.fixture
def watch(bench):
    """Give watches of the bench's mapping, as one runner after the other would make them."""
    bench.tables()
    with psycopg.connect(bench.config.databases["south"].dsn.read(), autocommit=True) as writer:
        migrate(writer)
        writer.execute("DELETE FROM sink.source_cluster")

    def make() -> ClusterWatch:
        reach = bench.config.databases
        return ClusterWatch(
            "bench", "north", source=reach["north"].reader_dsn, target=reach["south"].dsn
        )

    return make


def change(bench: Any, settings: str) -> None:
    bench.target.execute(f"UPDATE sink.source_cluster SET {settings}".encode())


def test_first_look_remembers_the_cluster(bench, watch) -> None:
    assert watch().check() is None
    found = stored_cluster(bench.target, "bench")
    (identifier,) = bench.source.execute(
        "SELECT system_identifier::text FROM pg_control_system()"
    ).fetchone()
    assert found is not None
    assert found.identifier == identifier
    assert found.timeline == 1
    assert found.position > 0


def test_event_of_another_cluster_stops_the_mapping(bench, watch) -> None:
    """Without the check it would be dropped as older than what was applied."""
    one = watch()
    one.check()
    one.observe([event(0, 500), event(1, 90), event(0, 600)])
    change(bench, "system_identifier = '1'")
    one.observe([event(0, 700), event(1, 100)])
    with pytest.raises(FatalError, match=r"of cluster 1.*sink-runner recover north"):
        one.observe([event(1, 99)])


def test_positions_outlive_a_restart(bench, watch) -> None:
    first = watch()
    first.check()
    first.observe([event(0, 500)])
    first.maintain()
    change(bench, "system_identifier = '1'")
    second = watch()
    second.observe([event(0, 500)])
    with pytest.raises(FatalError, match="of cluster 1"):
        watch().observe([event(0, 499)])


def test_capture_that_sends_again_is_no_other_cluster(watch) -> None:
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    one.observe([event(0, 400), event(0, None)])


def test_transaction_that_began_first_does_not_go_back(bench, watch) -> None:
    """Each look costs two connections, and transactions overlap all the time."""
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    change(bench, "system_identifier = '1'")
    one.observe([event(0, 400, committed=600)])
    with pytest.raises(FatalError, match="of cluster 1"):
        one.observe([event(0, 450, committed=599)])


def test_log_that_is_shorter_is_another_one(bench, watch) -> None:
    one = watch()
    one.check()
    change(bench, "position = position + 1000000000000")
    assert "restored" in one.check().problem
    one.observe([event(0, 500)])
    with pytest.raises(FatalError, match="restored"):
        one.observe([event(0, 400)])


def test_promoted_standby_goes_on(bench, watch) -> None:
    one = watch()
    one.check()
    change(bench, "timeline = 7, position = position - 5")
    assert one.check() is None
    assert stored_cluster(bench.target, "bench").timeline == 1


def test_unanswered_question_is_asked_again(bench, watch) -> None:
    """While the cluster can't be asked no event that lies before another is applied."""
    one = watch()
    one.check()
    one.observe([event(0, 500)])
    change(bench, "system_identifier = '1'")
    dsn, one._source = one._source, "host=127.0.0.1 port=1 connect_timeout=1"
    one.maintain()
    for _ in range(2):
        with pytest.raises(Exception, match="no connection"):
            one.observe([event(0, 400)])
    one._source = dsn
    with pytest.raises(FatalError):
        one.observe([event(0, 400)])


def test_start_warns_and_batch_refuses(bench, watch) -> None:
    """The runner has to apply what is left of the old log; a batch would come in between."""
    watch().check()
    change(bench, "system_identifier = '1'")
    assert bench.texts() == []
    assert any("of cluster 1" in text for text in bench.warnings())
    assert bench.start() == ""
    with pytest.raises(ConfigError, match="of cluster 1"):
        batch(bench)


def test_recover_forgets_the_cluster(bench, watch) -> None:
    watch().check()
    change(bench, "system_identifier = '1'")
    with psycopg.connect(bench.config.databases["south"].dsn.read()) as writer:
        forget(writer, "bench", bench.mapping)
    assert bench.mapping.conflict == source_wins()
    assert watch().check() is None


def test_reader_without_right_to_ask_is_told_grant(bench, watch) -> None:
    functions = "FUNCTION pg_control_system(), pg_control_checkpoint()"
    bench.run(bench.source, f"REVOKE EXECUTE ON {functions} FROM PUBLIC")
    try:
        (text,) = bench.texts()
    finally:
        bench.run(bench.source, f"GRANT EXECUTE ON {functions} TO PUBLIC")
    assert f"GRANT EXECUTE ON {functions} TO sink_reader" in text
