"""Each difference is reported by key and column, without personal values."""

from ...oracle.citizen_updates import CitizenUpdates, Districts, collect_updates
from ...oracle.comparison import (
    compare_conflicts,
    compare_golden_records,
    compare_hints,
    compare_profiles,
)
from ...oracle.eligibility_hints import compute_hints
from ...oracle.golden_records import compute_golden_records
from ...oracle.history import parse_time
from ...oracle.history_builder import CITIZEN, citizen_history, golden_history, snapshot_history
from ...oracle.profile_data import compute_profiles

NOW = parse_time("2026-03-20T00:00:00")
NUMBER = CITIZEN["aadhaar_number"]
UPDATES = collect_updates(
    citizen_history().insert("c").changes, Districts(aliases={}, names={"jaipur": 17, "kota": 23})
)
CONFLICT = {
    "record_id": "c",
    "source_system": "citizen",
    "resolution_action": "manual_review",
    "resolved_at": None,
}


def compare_profile(**columns):
    expected = compute_profiles(golden_history().insert("a").changes, NOW)
    row = {**expected["a"].columns, "source_updated_at": "2026-03-01T10:00:00", **columns}
    return [str(one) for one in compare_profiles(expected, [row])]


def test_equal_rows_do_not_differ():
    assert compare_profile(synced_at="2026-03-20T00:00:00") == []


def test_wrong_column_is_named_without_value():
    assert compare_profile(full_name="Other Name") == ["profile_data a: full_name differs"]


def test_wrong_time_is_reported():
    (one,) = compare_profile(source_updated_at="2026-03-01T10:00:01")
    assert one == (
        "profile_data a: source_updated_at is 2026-03-01T10:00:01, not 2026-03-01T10:00:00"
    )


def test_missing_and_extra_rows_are_reported():
    expected = compute_profiles(golden_history().insert("a").changes, NOW)
    found = [str(one) for one in compare_profiles(expected, [{"record_id": "b"}])]
    assert found == ["profile_data a: missing row", "profile_data b: extra row"]


def test_hint_is_named_by_family_and_scheme():
    expected = compute_hints(snapshot_history().insert(1).changes, NOW)
    (row,) = expected.values()
    (one,) = compare_hints(expected, [{**row, "confidence": 1}])
    assert str(one) == "eligibility_hints family NREGA: confidence is 1, not 0.00"


def compare_inserted_record(**columns):
    """Compare the record that the sink inserts for an unmatched citizen."""
    expected = compute_golden_records([], UPDATES)
    (time,) = expected[NUMBER].allowed_times
    inserted = {"review_reason": "unmatched", "gr_id": "g", "source_updated_at": time}
    row = {**expected[NUMBER].columns, **inserted, **columns}
    return [str(one) for one in compare_golden_records(expected, [{"jan_aadhaar": NUMBER, **row}])]


def test_record_inserted_by_sink_is_named_by_citizen():
    assert compare_inserted_record() == []
    assert compare_inserted_record(email="x@example.in") == [
        "golden_records of citizen c: email differs"
    ]
    assert compare_inserted_record(review_required=False) == [
        "golden_records of citizen c: review_required is False, not True"
    ]
    assert compare_inserted_record(review_reason=None) == [
        "golden_records of citizen c: review without a reason"
    ]


def test_extra_record_is_named_by_its_key():
    row = {"gr_id": "g", "jan_aadhaar": "999999999999"}
    assert [str(one) for one in compare_golden_records({}, [row])] == [
        "golden_records g: extra row"
    ]


def compare_conflict_rows(*rows):
    updates = CitizenUpdates(deletions=[("c", NUMBER)])
    found = compare_conflicts(updates, [{"jan_aadhaar": NUMBER, "gr_id": "g"}], rows)
    return [str(one) for one in found]


def test_each_deletion_requires_one_conflict():
    assert compare_conflict_rows(CONFLICT) == []
    assert compare_conflict_rows({**CONFLICT, "record_id": "g"}) == []
    assert compare_conflict_rows() == ["cdc_conflict_resolution c: deletion without a conflict row"]
    assert compare_conflict_rows(CONFLICT, CONFLICT) == [
        "cdc_conflict_resolution c: conflict row without a deletion"
    ]
    assert compare_conflict_rows({**CONFLICT, "resolution_action": None}) == [
        "cdc_conflict_resolution c: resolution_action is None, not manual_review"
    ]
