"""Changes in flight are not reported as differences, but as pending."""

import threading

import pytest

from sink_runner.kafka.feed import Bounds
from sink_runner.reconcile import log_marker
from sink_runner.reconcile.log_marker import LogMarker
from sink_runner.reconcile.settlement import _MAX_ROUNDS

from .conftest import StubMarker
from .test_comparing import count_differences, people

pytestmark = pytest.mark.postgres
__all__ = ["people"]

RENAME = "UPDATE {} SET full_name = '{}', {} = '2026-01-01' WHERE full_name = 'Person 7'"


def rename_in_source(pair, name: str = "Renamed") -> None:
    pair.warehouse.execute(RENAME.format("golden_records", name, "updated_at").encode())


def test_change_applied_before_marker_is_equal(people) -> None:
    rename_in_source(people)
    apply = RENAME.format("profile_data", "Renamed", "source_updated_at")
    (updated_at,) = people.warehouse.execute(
        "SELECT updated_at FROM golden_records WHERE full_name = 'Renamed'"
    ).fetchone()
    apply = apply.replace("2026-01-01", str(updated_at))
    stub = StubMarker(lambda: people.citizen.execute(apply.encode()))
    report = people.reconcile("golden-records", applied=stub)
    assert (report.outcome, stub.waits) == ("equal", 1)


def test_change_after_marker_is_pending(people) -> None:
    """The source row changes before each comparison, so the target is late but not different."""
    rename_in_source(people)
    names = iter("ABCDEFGH")
    changes = StubMarker(
        lambda: people.warehouse.execute(
            f"UPDATE golden_records SET full_name = '{next(names)}' "
            f"WHERE gr_id = md5('7')::uuid".encode()
        )
    )
    report = people.reconcile("golden-records", applied=changes)
    assert (report.outcome, count_differences(report)) == ("undecided", {})
    assert report.counts["pending"] == 1
    assert changes.waits == _MAX_ROUNDS
    assert report.verified_through is None


def test_row_deleted_before_marker_is_equal(people) -> None:
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    delete = "DELETE FROM golden_records WHERE full_name = 'Person 7'"
    deletes = StubMarker(lambda: people.warehouse.execute(delete))
    assert people.reconcile("golden-records", applied=deletes).outcome == "equal"


def test_row_inserted_during_run_is_not_extra(people) -> None:
    """The row is inserted into both databases after the source was read."""
    key = "'00000000-0000-0000-0000-000000000001'"
    people.citizen.execute(
        "INSERT INTO profile_data (record_id, family_id, full_name, source_updated_at) "
        f"VALUES ({key}, gen_random_uuid(), 'New', '2020-01-01')".encode()
    )
    inserts = StubMarker(
        lambda: people.warehouse.execute(
            "INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at) "
            f"VALUES ({key}, 'New', 'active', '2020-01-01', '2020-01-01')".encode()
        )
    )
    report = people.reconcile("golden-records", applied=inserts)
    assert count_differences(report) == {}


def test_change_without_capture_is_pending(people) -> None:
    """Without an active replication slot, an idle topic does not prove that all is applied."""
    rename_in_source(people)
    report = people.reconcile("golden-records", applied=real_marker(people, {}))
    assert (report.outcome, report.counts["pending"]) == ("undecided", 1)
    assert any("no replication slot" in note and "Start Debezium" in note for note in report.notes)


def real_marker(pair, ends: dict[int, int]):
    """Return a function that creates real log markers, with these log ends instead of Kafka's."""

    def make(batch, _config, sessions):
        source, target = sessions
        return LogMarker(
            batch.name,
            batch.mapping,
            source=source,
            target=target,
            bounds=lambda: {partition: Bounds(0, end) for partition, end in ends.items()},
            stop=threading.Event(),
        )

    return make


CONFIRMED = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
OFFSET = """
INSERT INTO sink.partition_offset
  (mapping, cluster_id, topic, topic_id, partition, next_offset, owner)
VALUES ('golden-records', 'c', 'smart_warehouse.public.golden_records', 't', 0, %s, 'me')
"""


@pytest.mark.parametrize(
    ("applied", "reason"), [(5, None), (4, "1 events"), (None, "5 events")], ids=str
)
def test_marker_waits_for_all_offsets(people, monkeypatch, applied, reason) -> None:
    monkeypatch.setattr(log_marker, "_CONFIRMED", CONFIRMED)
    monkeypatch.setattr(log_marker, "_STALLED_SECONDS", 0.1)
    people.citizen.execute(OFFSET, (applied,))
    rename_in_source(people)
    report = people.reconcile("golden-records", applied=real_marker(people, {0: 5, 1: 0}))
    if reason is None:
        assert count_differences(report) == {"different": 1}
    else:
        assert report.counts["pending"] == 1
        assert any(reason in note and "no runner runs" in note for note in report.notes)


def test_unflushed_position_is_not_taken_as_applied(people, monkeypatch) -> None:
    """With synchronous_commit = off a row is visible before its commit is flushed and captured."""
    flushed = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8 - 1"
    monkeypatch.setattr(log_marker, "_CONFIRMED", flushed)
    monkeypatch.setattr(log_marker, "_CAPTURE_SECONDS", 0.1)
    people.warehouse.execute("SET synchronous_commit = off")
    rename_in_source(people)
    report = people.reconcile("golden-records", applied=real_marker(people, {}))
    assert (count_differences(report), report.counts["pending"]) == ({}, 1)
    assert any("has not confirmed" in note for note in report.notes)
