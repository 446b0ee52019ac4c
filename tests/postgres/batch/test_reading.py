"""Which rows full, incremental and range runs read, and where an interrupted run resumes."""

from datetime import datetime

import psycopg
import pytest

from sink_runner.batch.snapshot import NOWHERE, take_snapshot
from sink_runner.errors import ConfigError

pytestmark = pytest.mark.postgres

PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n, 'active', date '2020-01-01', date '2020-01-01' + n
FROM generate_series(%s::int, %s::int) n
"""
RENAME = "UPDATE golden_records SET full_name = %s WHERE full_name = %s"


def names(pair) -> set[str]:
    return {name for (name,) in pair.citizen.execute("SELECT full_name FROM profile_data")}


def test_run_reads_what_was_written_since_last(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 20))
    assert pair.run("golden-records").counts["read"] == 20
    pair.warehouse.execute(PEOPLE, (21, 23))
    pair.warehouse.execute(RENAME, ("Renamed", "Person 5"))
    report = pair.run("golden-records")
    assert (report.counts["read"], report.counts["written"]) == (4, 4)
    assert "Renamed" in names(pair)
    assert pair.run("golden-records").counts["read"] == 0


def test_transaction_that_outlives_run_is_not_missed(pair) -> None:
    """Its rows have an older time and transaction id than the run that could not see them."""
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.run("golden-records")
    with psycopg.connect(pair.warehouse.info.dsn, password=pair.warehouse.info.password) as late:
        late.execute(PEOPLE, (4, 4))
        with late.transaction():  # the rows of a savepoint have a transaction id of their own
            late.execute(PEOPLE, (5, 5))
        pair.warehouse.execute(PEOPLE, (6, 6))
        report = pair.run("golden-records")
        assert names(pair) == {f"Person {n}" for n in (1, 2, 3, 6)}
        assert any("began before the run" in note for note in report.notes)
    pair.run("golden-records")
    assert names(pair) == {f"Person {n}" for n in range(1, 7)}
    assert pair.run("golden-records").counts["read"] == 0


def test_run_waits_for_the_newest_transaction(pair) -> None:
    """A position is only valid if no open transaction can still write events before it."""
    dsn, password = pair.warehouse.info.dsn, pair.warehouse.info.password
    with (
        psycopg.connect(dsn, password=password) as late,
        psycopg.connect(dsn, password=password, autocommit=True) as reader,
    ):
        late.execute(PEOPLE, (1, 1))
        options = {"settle_seconds": 0.1, "earlier": lambda _: (), "stopped": lambda: False}
        snapshot = take_snapshot(reader, **options)
        assert not snapshot.settled
        assert snapshot.place == NOWHERE
        reader.execute("ROLLBACK")
        late.commit()
        assert take_snapshot(reader, **options).settled


def test_time_range_is_read_again(pair) -> None:
    """A range repairs the rows of a period without a full run."""
    pair.warehouse.execute(PEOPLE, (1, 20))
    pair.run("golden-records")
    pair.citizen.execute("DELETE FROM profile_data")
    report = pair.run(
        "golden-records",
        since=datetime.fromisoformat("2020-01-05"),
        until=datetime.fromisoformat("2020-01-08"),
    )
    assert report.counts["read"] == 3
    assert names(pair) == {"Person 4", "Person 5", "Person 6"}
    assert pair.run("golden-records").counts["read"] == 0


def test_range_needs_time_column(pair) -> None:
    with pytest.raises(ConfigError, match="neither updated_at nor created_at"):
        pair.run("user-behavior", until=datetime.fromisoformat("2020-01-05"))


@pytest.mark.parametrize("options", [{"full": True}, {}], ids=["full", "changed"])
def test_stopped_run_continues_at_its_position(pair, stopper, options) -> None:
    pair.warehouse.execute(PEOPLE, (1, 30))
    stopped = pair.run("golden-records", stopper(2), **options)
    assert stopped.interrupted
    assert stopped.counts["read"] == len(names(pair)) == 14
    report = pair.run("golden-records", **options)
    assert report.counts["read"] == 30
    assert report.counts["written"] == 30
    assert len(names(pair)) == 30
    assert pair.run("golden-records").counts["read"] == 0


def test_changes_during_interruption_are_read_later(pair, stopper) -> None:
    """The resumed run has a later snapshot; the run after it starts from the first snapshot."""
    pair.warehouse.execute(PEOPLE, (1, 30))
    pair.run("golden-records", stopper(2))
    (done,) = pair.citizen.execute(
        "SELECT full_name FROM profile_data ORDER BY record_id LIMIT 1"
    ).fetchone()
    pair.warehouse.execute(RENAME, ("Renamed", done))
    pair.run("golden-records")
    assert "Renamed" not in names(pair)
    query = "SELECT snapshot_at = last_synced_at FROM sink.batch_run CROSS JOIN sync_watermark"
    assert pair.citizen.execute(query).fetchall() == [(True,)]
    pair.run("golden-records")
    assert "Renamed" in names(pair)


def test_run_in_another_mode_starts_over(pair, stopper) -> None:
    pair.warehouse.execute(PEOPLE, (1, 30))
    pair.run("golden-records", stopper(1), full=True)
    report = pair.run("golden-records")
    assert (report.counts["read"], report.counts["written"]) == (30, 23)


def test_transaction_ids_of_another_cluster_are_ignored(pair) -> None:
    """A restored or copied source assigns its own transaction ids."""
    pair.warehouse.execute(PEOPLE, (1, 5))
    pair.run("golden-records")
    pair.citizen.execute("UPDATE sink.batch_run SET cluster = '1/00000001'")
    assert pair.run("golden-records").counts["read"] == 5


@pytest.mark.parametrize("shift", [-(2**31), 1_000_000], ids=["too old", "yet to come"])
def test_incomparable_transaction_ids_are_ignored(pair, shift: int) -> None:
    pair.warehouse.execute(PEOPLE, (1, 5))
    pair.run("golden-records")
    pair.citizen.execute("UPDATE sink.batch_run SET seen_before = seen_before + %s", (shift,))
    assert pair.run("golden-records").counts["read"] == 5


def test_missing_privileges_are_named(pair) -> None:
    pair.warehouse.execute("REVOKE SELECT (xmin) ON golden_records FROM sink_reader")
    with pytest.raises(
        ConfigError, match=r"GRANT SELECT \(\"xmin\"\) ON \"public\".\"golden_records\""
    ):
        pair.run("golden-records")
