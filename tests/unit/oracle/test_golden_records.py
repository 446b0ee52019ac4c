"""Expected rows of flow 8, for histories small enough to check by hand."""

import pytest

from ...oracle.citizen_updates import CitizenUpdates, Districts, collect_updates
from ...oracle.golden_records import compute_golden_records
from ...oracle.history import SINK
from ...oracle.history_builder import CITIZEN, HistoryBuilder, citizen_history, golden_history

NUMBER = CITIZEN["aadhaar_number"]
DISTRICTS = Districts(aliases={"ganganagar": 31}, names={"jaipur": 17, "sri ganganagar": 31})
ALL_COLUMNS = {"full_name", "date_of_birth", "mobile_number", "email"} | {
    "city_village", "pincode", "gender", "district_id"
}  # fmt: skip
LATER = "2026-03-02T00:00:00"


def updates_of(history: HistoryBuilder) -> CitizenUpdates:
    return collect_updates(history.changes, DISTRICTS)


def updated_values(history: HistoryBuilder, number=NUMBER):
    """Return the columns that each version of a citizen sets."""
    return [update.values for update in updates_of(history).by_number.get(number, [])]


def record_columns(warehouse: HistoryBuilder, portal: HistoryBuilder, key="a"):
    return compute_golden_records(warehouse.changes, updates_of(portal))[key].columns


def allowed_times(warehouse: HistoryBuilder, portal: HistoryBuilder, key="a"):
    return compute_golden_records(warehouse.changes, updates_of(portal))[key].allowed_times


def matching_record(**columns) -> HistoryBuilder:
    return golden_history().insert("a", jan_aadhaar=NUMBER, **columns)


def test_new_verified_citizen_sets_every_column():
    (values,) = updated_values(citizen_history().insert("c"))
    assert set(values) == ALL_COLUMNS
    assert (values["gender"], values["district_id"]) == ("Female", 17)
    (values,) = updated_values(citizen_history().insert("c", email=None, district="Unknown"))
    assert set(values) == ALL_COLUMNS - {"email", "district_id"}


@pytest.mark.parametrize(
    "columns",
    [
        {"verification_status": "PENDING"},
        {"verification_status": None},
        {"status": "SUSPENDED"},
        {"status": None},
        {"aadhaar_number": None},
    ],
)
def test_ineligible_citizen_changes_nothing(columns):
    history = citizen_history().insert("c", **columns)
    assert updates_of(history) == CitizenUpdates()
    assert not updates_of(history.delete("c")).deletions


@pytest.mark.parametrize(
    "columns",
    [{"verification_status": "verified"}, {"status": "active"}, {"status": "Verified"}],
)
def test_statuses_are_compared_in_any_case(columns):
    assert updated_values(citizen_history().insert("c", **columns))


def test_update_sets_only_changed_columns():
    history = citizen_history().insert("c").update("c", full_name="Asha", updated_at=LATER)
    assert updated_values(history)[1:] == [{"full_name": "Asha"}]


@pytest.mark.parametrize(
    "columns",
    [
        {"last_login_at": LATER},
        {"gender": "female"},
        {"district": " JAIPUR"},
    ],
)
def test_update_without_mapped_change_is_ignored(columns):
    assert (
        len(updated_values(citizen_history().insert("c").update("c", updated_at=LATER, **columns)))
        == 1
    )


@pytest.mark.parametrize("columns", [{"email": None}, {"district": "Unknown"}])
def test_removed_value_is_not_written(columns):
    history = citizen_history().insert("c").update("c", updated_at=LATER, **columns)
    assert updated_values(history)[1:] == [{}]
    assert allowed_times(matching_record(), history) == {"2026-03-01T10:00:00", LATER}
    assert record_columns(matching_record(), history)["email"] == "asha@example.in"


def test_alias_is_same_district():
    history = citizen_history().insert("c", district="Ganganagar")
    assert len(updated_values(history.update("c", district="Sri  Ganganagar"))) == 1


def test_citizen_verified_later_sets_every_column():
    history = citizen_history().insert("c", verification_status="PENDING")
    (values,) = updated_values(history.update("c", verification_status="VERIFIED"))
    assert set(values) == ALL_COLUMNS


def test_change_before_verification_is_written_after_it():
    history = citizen_history().insert("c").update("c", verification_status="PENDING")
    history.update("c", full_name="Asha").update("c", verification_status="VERIFIED")
    assert len(updated_values(history)) == 2
    assert updated_values(history)[-1]["full_name"] == "Asha"


def test_corrected_number_abandons_old_number():
    history = citizen_history().insert("c").update("c", aadhaar_number="1")
    assert set(updated_values(history, "1")[0]) == ALL_COLUMNS
    assert updates_of(history).abandoned_numbers == {NUMBER}


def test_number_corrected_before_verification_abandons_nothing():
    history = (
        citizen_history().insert("c", verification_status="PENDING").update("c", aadhaar_number="1")
    )
    history.update("c", verification_status="VERIFIED")
    assert not updates_of(history).abandoned_numbers
    assert set(updates_of(history).by_number) == {"1"}


def test_deletion_of_verified_citizen_is_collected():
    assert updates_of(citizen_history().insert("c").delete("c")).deletions == [("c", NUMBER)]


def test_matching_record_takes_citizen_values():
    columns = record_columns(
        matching_record(full_name="A. Devi", email="old@example.in"), citizen_history().insert("c")
    )
    assert columns == {
        "full_name": "Asha Devi",
        "date_of_birth": "1980-02-29",
        "mobile_number": "0123456789",
        "email": "asha@example.in",
        "city_village": "Rampura",
        "pincode": "302001",
        "gender": "Female",
        "district_id": 17,
        "updated_by": "citizen_portal",
        "review_required": False,
    }


def test_null_never_replaces_value():
    portal = citizen_history().insert("c", email=None, district="Unknown", gender=None)
    columns = record_columns(matching_record(email="old@example.in", district_id=3), portal)
    assert (columns["email"], columns["district_id"], columns["gender"]) == (
        "old@example.in", 3, "Female"
    )  # fmt: skip


def test_unmatched_record_is_unchanged():
    warehouse = golden_history().insert("a", jan_aadhaar="9").update("a", full_name="Other")
    columns = record_columns(warehouse, citizen_history().insert("c"))
    assert (columns["full_name"], columns["updated_by"]) == ("Other", None)


@pytest.mark.parametrize(
    ("initial_time", "name"),
    [
        (None, "Asha Devi"),
        ("2026-03-01T09:59:59", "Asha Devi"),
        ("2026-03-01T10:00:00", "Asha Devi"),  # The portal wins ties.
        ("2026-03-01T10:00:00.000001", "A. Devi"),
    ],
)
def test_latest_version_wins(initial_time, name):
    warehouse, portal = (
        matching_record(full_name="A. Devi", source_updated_at=initial_time),
        citizen_history().insert("c"),
    )
    assert record_columns(warehouse, portal)["full_name"] == name
    assert allowed_times(warehouse, portal) == {max(initial_time or "", "2026-03-01T10:00:00")}


def test_time_only_update_leaves_updated_by_open():
    warehouse = matching_record(source_updated_at="2026-03-01T10:00:01")
    portal = citizen_history().insert("c")
    assert record_columns(warehouse, portal)["updated_by"] is None
    portal.update("c", email=None, updated_at=LATER)
    assert "updated_by" not in record_columns(warehouse, portal)
    portal.update("c", email="b@example.in", updated_at=LATER)
    assert record_columns(warehouse, portal)["updated_by"] == "citizen_portal"


def test_unmatched_citizen_makes_record_for_review():
    (record,) = compute_golden_records([], updates_of(citizen_history().insert("c"))).values()
    assert (record.gr_id, record.citizen_id) == (None, "c")
    assert record.columns["review_required"] is True
    assert record.columns["full_name"] == "Asha Devi"


def test_corrected_number_only_flags_old_record():
    warehouse = matching_record(full_name="A. Devi", source_updated_at="2026-03-09T00:00:00")
    portal = citizen_history().insert("c").update("c", aadhaar_number="1")
    expected = compute_golden_records(warehouse.changes, updates_of(portal))
    assert expected["a"].columns["review_required"] is True
    assert expected["a"].columns["full_name"] == "A. Devi"
    assert expected["1"].gr_id is None


def test_later_writer_of_column_wins():
    portal = citizen_history().insert("c")
    sink = {"writer": SINK, "source_updated_at": "2026-03-01T10:00:00"}
    before = matching_record().update("a", full_name="Operator").update("a", **sink)
    after = matching_record().update("a", **sink).update("a", full_name="Operator")
    assert record_columns(before, portal)["full_name"] == "Asha Devi"
    assert record_columns(after, portal)["full_name"] == "Operator"


def test_versions_may_be_written_in_one_update():
    portal = citizen_history().insert("c").update("c", email="new@example.in", updated_at=LATER)
    warehouse = matching_record().update("a", SINK, source_updated_at=LATER)
    warehouse.update("a", full_name="Operator")
    columns = record_columns(warehouse, portal)
    assert (columns["full_name"], columns["email"]) == ("Operator", "new@example.in")


def test_values_written_by_sink_are_ignored():
    warehouse = matching_record().update(
        "a", SINK, full_name="Wrong", source_updated_at="2026-03-01T10:00:00"
    )
    assert record_columns(warehouse, citizen_history().insert("c"))["full_name"] == "Asha Devi"


def test_record_inserted_without_citizen_is_not_expected():
    warehouse = golden_history().insert("a", SINK, jan_aadhaar="7")
    assert not compute_golden_records(warehouse.changes, CitizenUpdates())


def test_deleted_record_is_not_expected():
    assert not compute_golden_records(
        golden_history().insert("a").delete("a").changes, CitizenUpdates()
    )
