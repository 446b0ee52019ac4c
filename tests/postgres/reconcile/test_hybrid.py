"""Rows that events leave to the batch run wait for it; they are not missing.

As an event, a person of golden-records that was not updated for 30 days is dropped by a filter.
"""

import pytest

from sink_runner.reconcile.batch_marker import BatchMarker, HybridMarker

from .conftest import StubMarker
from .test_comparing import count_differences, people

pytestmark = pytest.mark.postgres
__all__ = ["people"]

ADD = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name, status, created_at, updated_at)
VALUES (md5('new')::uuid, '912345678901', 'Late Person', 'active', '2020-01-01',
  now() AT TIME ZONE 'UTC' - interval '1 day' * %s)
"""
BATCH_BEGAN = "SELECT max(snapshot_at) AT TIME ZONE 'UTC' FROM sink.batch_run"


def hybrid_marker(batch, _config, sessions) -> HybridMarker:
    return HybridMarker(batch, StubMarker(), BatchMarker(batch, *sessions))


def reconcile(pair, **options):
    return pair.reconcile("golden-records", applied=hybrid_marker, **options)


def test_row_for_next_batch_run_waits(people) -> None:
    people.warehouse.execute(ADD, (40,))
    report = reconcile(people)
    assert (report.outcome, count_differences(report)) == ("equal", {})
    assert report.counts["waiting"] == 1
    assert f"{report.next_batch_run:%H:%M} UTC: 1" in "\n".join(report.lines())
    assert report.next_batch_run.hour == 1


def test_waiting_row_limits_verified_time(people) -> None:
    """What changed after the batch run began is not verified."""
    people.warehouse.execute(ADD, (40,))
    began = people.citizen.execute(BATCH_BEGAN).fetchone()
    assert (reconcile(people).verified_through,) == began


def test_row_that_batch_run_has_read_is_missing(people) -> None:
    people.warehouse.execute(ADD, (40,))
    people.run("golden-records")
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Late Person'")
    report = reconcile(people)
    assert (count_differences(report), report.counts["waiting"]) == ({"missing": 1}, 0)


def test_row_of_an_event_does_not_wait(people) -> None:
    """An event would have written it."""
    people.warehouse.execute(ADD, (20,))
    report = reconcile(people)
    assert (count_differences(report), report.counts["waiting"]) == ({"missing": 1}, 0)


def test_old_row_waits_for_first_batch_run(pair) -> None:
    pair.warehouse.execute(ADD, (40,))
    report = reconcile(pair)
    assert (count_differences(report), report.counts["waiting"]) == ({}, 1)
