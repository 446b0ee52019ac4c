"""A difference is found, named by key and column, and told without a person's values."""

from ...oracle.citizens import Asked, Districts, asked
from ...oracle.comparison import compare_conflicts, compare_golden, compare_hints, compare_profiles
from ...oracle.eligibility_hints import eligibility_hints
from ...oracle.golden_records import golden_records
from ...oracle.history import moment
from ...oracle.profile_data import profile_data
from ...oracle.story import CITIZEN, citizens, golden, snapshots

NOW = moment("2026-03-20T00:00:00")
NUMBER = CITIZEN["aadhaar_number"]
WANTED = asked(
    citizens().insert("c").changes, Districts(aliases={}, names={"jaipur": 17, "kota": 23})
)
CONFLICT = {
    "record_id": "c",
    "source_system": "citizen",
    "resolution_action": "manual_review",
    "resolved_at": None,
}


def profiles(**columns):
    expected = profile_data(golden().insert("a").changes, NOW)
    row = {**expected["a"].columns, "source_updated_at": "2026-03-01T10:00:00", **columns}
    return [str(one) for one in compare_profiles(expected, [row])]


def test_equal_rows_do_not_differ():
    assert profiles(synced_at="whenever") == []


def test_a_wrong_column_is_named_without_its_value():
    assert profiles(full_name="Somebody") == ["profile_data a: full_name differs"]


def test_a_time_that_no_version_had_is_told():
    (one,) = profiles(source_updated_at="2026-03-01T10:00:01")
    assert one == (
        "profile_data a: source_updated_at is 2026-03-01T10:00:01, not 2026-03-01T10:00:00"
    )


def test_missing_rows_and_rows_too_many_are_told():
    expected = profile_data(golden().insert("a").changes, NOW)
    found = [str(one) for one in compare_profiles(expected, [{"record_id": "b"}])]
    assert found == ["profile_data a: row missing", "profile_data b: row too many"]


def test_difference_names_hint_by_family_and_scheme():
    expected = eligibility_hints(snapshots().insert(1).changes, NOW)
    (row,) = expected.values()
    (one,) = compare_hints(expected, [{**row, "confidence": 1}])
    assert str(one) == "eligibility_hints family NREGA: confidence is 1, not 0.00"


def record(**columns):
    """The record that the sink makes of an unmatched citizen."""
    expected = golden_records([], WANTED)
    (time,) = expected[NUMBER].times
    made = {"review_reason": "unmatched", "gr_id": "g", "source_updated_at": time}
    row = {**expected[NUMBER].columns, **made, **columns}
    return [str(one) for one in compare_golden(expected, [{"jan_aadhaar": NUMBER, **row}])]


def test_record_of_sink_is_known_by_its_citizen():
    assert record() == []
    assert record(email="x@example.in") == ["golden_records of citizen c: email differs"]
    assert record(review_required=False) == [
        "golden_records of citizen c: review_required is False, not True"
    ]
    assert record(review_reason=None) == ["golden_records of citizen c: review without a reason"]


def test_unexpected_record_is_named_by_its_key():
    row = {"gr_id": "g", "jan_aadhaar": "999999999999"}
    assert [str(one) for one in compare_golden({}, [row])] == ["golden_records g: row too many"]


def conflicts(*rows):
    wanted = Asked(deletions=[("c", NUMBER)])
    found = compare_conflicts(wanted, [{"jan_aadhaar": NUMBER, "gr_id": "g"}], rows)
    return [str(one) for one in found]


def test_each_deletion_leaves_one_conflict():
    assert conflicts(CONFLICT) == []
    assert conflicts({**CONFLICT, "record_id": "g"}) == []
    assert conflicts() == ["cdc_conflict_resolution c: deletion without a conflict row"]
    assert conflicts(CONFLICT, CONFLICT) == [
        "cdc_conflict_resolution c: conflict row without a deletion"
    ]
    assert conflicts({**CONFLICT, "resolution_action": None}) == [
        "cdc_conflict_resolution c: resolution_action is None, not manual_review"
    ]
