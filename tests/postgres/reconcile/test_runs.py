"""What a run stores, where it resumes, and until when a mapping is verified."""

import threading
from datetime import datetime

import pytest

from sink_runner.batch.lock import BusyError
from sink_runner.reconcile import chunks
from sink_runner.reconcile import run as run_module

from .conftest import EverythingApplied, reconcile
from .test_comparing import found, people

pytestmark = pytest.mark.postgres
__all__ = ["people"]

DELETE = "DELETE FROM profile_data WHERE full_name = 'Person 7'"


def verified(pair) -> datetime | None:
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


def test_verified_through_stays_at_a_difference(people) -> None:
    people.reconcile("golden-records")
    first = verified(people)
    people.citizen.execute(DELETE)
    assert people.reconcile("golden-records").verified_through is None
    assert verified(people) == first
    people.reconcile("golden-records", repair=True)
    assert verified(people) > first


def test_time_and_sample_leave_verification_alone(people) -> None:
    since = people.reconcile("golden-records", since=datetime.fromisoformat("2020-01-20"))
    assert since.counts["read"] == 12
    assert people.reconcile("golden-records", sample=100).counts["read"] == 30
    assert people.reconcile("golden-records", sample=0.0001).counts["read"] == 0
    assert verified(people) is None


def test_stopped_run_resumes_with_its_counts(people, monkeypatch) -> None:
    monkeypatch.setattr(chunks, "_MIN_ROWS", 10)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 10)
    monkeypatch.setattr(run_module, "_PROGRESS_SECONDS", 0.0)
    stop = threading.Event()
    with people.parts("golden-records", stop=stop) as (parts, options):
        compare = parts.comparison.compare

        def stop_after(writes):
            stop.set()
            return compare(writes)

        monkeypatch.setattr(parts.comparison, "compare", stop_after)
        report = reconcile(parts, options)
    assert (report.outcome, report.counts["read"]) == ("interrupted", 10)
    people.citizen.execute(DELETE)
    rest = people.reconcile("golden-records")
    assert rest.counts["read"] == rest.counts["keys"] + 1 == 30
    assert any("resumes" in note for note in rest.notes)


def test_two_reconciliations_of_a_mapping_collide(people) -> None:
    with people.parts("golden-records"), pytest.raises(BusyError, match="golden-records"):
        people.reconcile("golden-records")


def test_many_suspects_are_settled_in_portions(people, monkeypatch) -> None:
    monkeypatch.setattr(run_module, "_MAX_SUSPECTS", 8)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 4)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 4)
    people.citizen.execute("DELETE FROM profile_data")
    waits = EverythingApplied()
    report = people.reconcile("golden-records", applied=waits)
    assert found(report) == {"missing": 30}
    assert waits.waits == 4
