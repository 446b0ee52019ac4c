"""A run stores its findings and its position, and the time until which a mapping is verified."""

import threading
from datetime import datetime

import pytest

from sink_runner.batch.lock import BusyError
from sink_runner.reconcile import chunks
from sink_runner.reconcile import run as run_module

from .conftest import StubMarker, reconcile
from .test_comparing import count_differences, people

pytestmark = pytest.mark.postgres
__all__ = ["people"]

DELETE = "DELETE FROM profile_data WHERE full_name = 'Person 7'"


def read_verified_through(pair) -> datetime | None:
    row = pair.citizen.execute("SELECT verified_through FROM sink.reconcile_state").fetchone()
    return row and row[0]


def test_findings_have_hashes_and_column_names(people) -> None:
    people.citizen.execute(
        "UPDATE profile_data SET jan_aadhaar = '****-****-0000' WHERE full_name = 'Person 7'"
    )
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 8'")
    people.reconcile("golden-records")
    rows = people.citizen.execute(
        "SELECT kind, columns, length(key_hash) FROM sink.reconcile_finding ORDER BY kind"
    ).fetchall()
    assert rows == [("different", ["jan_aadhaar"], 32), ("missing", [], 32)]
    stored = people.citizen.execute("SELECT r::text FROM sink.reconcile_run r").fetchall()
    stored += people.citizen.execute("SELECT f::text FROM sink.reconcile_finding f").fetchall()
    assert not any("Person" in text or "7777" in text for (text,) in stored)


def test_difference_keeps_verified_through(people) -> None:
    people.reconcile("golden-records")
    first = read_verified_through(people)
    people.citizen.execute(DELETE)
    assert people.reconcile("golden-records").verified_through is None
    assert read_verified_through(people) == first
    people.reconcile("golden-records", repair=True)
    assert read_verified_through(people) > first


def test_partial_run_keeps_verified_through(people) -> None:
    since = people.reconcile("golden-records", since=datetime.fromisoformat("2020-01-20"))
    assert since.counts["read"] == 12
    assert people.reconcile("golden-records", sample=100).counts["read"] == 30
    assert people.reconcile("golden-records", sample=0.0001).counts["read"] == 0
    assert read_verified_through(people) is None


def test_stopped_run_resumes_with_its_counts(people, monkeypatch) -> None:
    monkeypatch.setattr(chunks, "_MIN_ROWS", 10)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 10)
    monkeypatch.setattr(run_module, "_PROGRESS_SECONDS", 0.0)
    stop = threading.Event()
    with people.parts("golden-records", stop=stop) as (parts, options):
        compare = parts.comparison.compare

        def stop_and_compare(writes):
            stop.set()
            return compare(writes)

        monkeypatch.setattr(parts.comparison, "compare", stop_and_compare)
        report = reconcile(parts, options)
    assert (report.outcome, report.counts["read"]) == ("interrupted", 10)
    people.citizen.execute(DELETE)
    resumed = people.reconcile("golden-records")
    assert resumed.counts["read"] == resumed.counts["keys"] + 1 == 30
    assert any("resumes" in note for note in resumed.notes)


def test_second_reconciliation_of_mapping_is_refused(people) -> None:
    with people.parts("golden-records"), pytest.raises(BusyError, match="golden-records"):
        people.reconcile("golden-records")


def test_many_suspects_are_checked_in_portions(people, monkeypatch) -> None:
    monkeypatch.setattr(run_module, "_MAX_SUSPECTS", 8)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 4)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 4)
    people.citizen.execute("DELETE FROM profile_data")
    stub = StubMarker()
    report = people.reconcile("golden-records", applied=stub)
    assert count_differences(report) == {"missing": 30}
    assert stub.waits == 4
