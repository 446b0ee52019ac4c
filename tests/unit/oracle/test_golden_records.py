"""What the oracle says about flow 8, on histories small enough to check by eye."""

import pytest

from ...oracle.citizens import Asked, Districts, asked
from ...oracle.golden_records import golden_records
from ...oracle.history import SINK
from ...oracle.story import CITIZEN, Story, citizens, golden

NUMBER = CITIZEN["aadhaar_number"]
DISTRICTS = Districts(aliases={"ganganagar": 31}, names={"jaipur": 17, "sri ganganagar": 31})
ALL = {"full_name", "date_of_birth", "mobile_number", "email"} | {
    "city_village", "pincode", "gender", "district_id"
}  # fmt: skip
LATER = "2026-03-02T00:00:00"


def wanted(story: Story) -> Asked:
    return asked(story.changes, DISTRICTS)


def changed(story: Story, number=NUMBER):
    """What each version asks for."""
    return [one.values for one in wanted(story).assignments.get(number, [])]


def record(warehouse: Story, portal: Story, key="a"):
    return golden_records(warehouse.changes, wanted(portal))[key].columns


def times(warehouse: Story, portal: Story, key="a"):
    return golden_records(warehouse.changes, wanted(portal))[key].times


def matched(**columns) -> Story:
    return golden().insert("a", jan_aadhaar=NUMBER, **columns)


def test_new_verified_citizen_brings_every_column():
    (values,) = changed(citizens().insert("c"))
    assert set(values) == ALL
    assert (values["gender"], values["district_id"]) == ("Female", 17)
    (values,) = changed(citizens().insert("c", email=None, district="Unknown"))
    assert set(values) == ALL - {"email", "district_id"}


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
    story = citizens().insert("c", **columns)
    assert wanted(story) == Asked()
    assert not wanted(story.delete("c")).deletions


@pytest.mark.parametrize(
    "columns",
    [{"verification_status": "verified"}, {"status": "active"}, {"status": "Verified"}],
)
def test_states_are_read_in_any_case(columns):
    assert changed(citizens().insert("c", **columns))


def test_only_what_changed_is_asked_for():
    story = citizens().insert("c").update("c", full_name="Asha", updated_at=LATER)
    assert changed(story)[1:] == [{"full_name": "Asha"}]


@pytest.mark.parametrize(
    "columns",
    [
        {"last_login_at": LATER},
        {"gender": "female"},
        {"district": " JAIPUR"},
    ],
)
def test_update_that_changes_nothing_mapped_asks_for_nothing(columns):
    assert len(changed(citizens().insert("c").update("c", updated_at=LATER, **columns))) == 1


@pytest.mark.parametrize("columns", [{"email": None}, {"district": "Unknown"}])
def test_value_that_is_gone_is_not_asked_for(columns):
    story = citizens().insert("c").update("c", updated_at=LATER, **columns)
    assert changed(story)[1:] == [{}]
    assert times(matched(), story) == {"2026-03-01T10:00:00", LATER}
    assert record(matched(), story)["email"] == "asha@example.in"


def test_an_alias_is_the_same_district():
    story = citizens().insert("c", district="Ganganagar")
    assert len(changed(story.update("c", district="Sri  Ganganagar"))) == 1


def test_a_citizen_verified_later_brings_everything():
    story = citizens().insert("c", verification_status="PENDING")
    (values,) = changed(story.update("c", verification_status="VERIFIED"))
    assert set(values) == ALL


def test_change_of_unverified_citizen_is_kept():
    story = citizens().insert("c").update("c", verification_status="PENDING")
    story.update("c", full_name="Asha").update("c", verification_status="VERIFIED")
    assert len(changed(story)) == 2
    assert changed(story)[-1]["full_name"] == "Asha"


def test_corrected_number_is_new_match_and_abandons_old():
    story = citizens().insert("c").update("c", aadhaar_number="1")
    assert set(changed(story, "1")[0]) == ALL
    assert wanted(story).abandoned == {NUMBER}


def test_a_number_corrected_before_verification_abandons_nothing():
    story = citizens().insert("c", verification_status="PENDING").update("c", aadhaar_number="1")
    story.update("c", verification_status="VERIFIED")
    assert not wanted(story).abandoned
    assert set(wanted(story).assignments) == {"1"}


def test_a_deleted_verified_citizen_is_a_conflict():
    assert wanted(citizens().insert("c").delete("c")).deletions == [("c", NUMBER)]


def test_match_takes_values_and_portals_time():
    columns = record(matched(full_name="A. Devi", email="old@example.in"), citizens().insert("c"))
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


def test_null_never_replaces_a_value():
    portal = citizens().insert("c", email=None, district="Unknown", gender=None)
    columns = record(matched(email="old@example.in", district_id=3), portal)
    assert (columns["email"], columns["district_id"], columns["gender"]) == (
        "old@example.in", 3, "Female"
    )  # fmt: skip


def test_unmatched_record_stays():
    warehouse = golden().insert("a", jan_aadhaar="9").update("a", full_name="Other")
    columns = record(warehouse, citizens().insert("c"))
    assert (columns["full_name"], columns["updated_by"]) == ("Other", None)


@pytest.mark.parametrize(
    ("known", "name"),
    [
        (None, "Asha Devi"),
        ("2026-03-01T09:59:59", "Asha Devi"),
        ("2026-03-01T10:00:00", "Asha Devi"),  # the portal wins ties
        ("2026-03-01T10:00:00.000001", "A. Devi"),
    ],
)
def test_the_latest_wins(known, name):
    warehouse, portal = (
        matched(full_name="A. Devi", source_updated_at=known),
        citizens().insert("c"),
    )
    assert record(warehouse, portal)["full_name"] == name
    assert times(warehouse, portal) == {max(known or "", "2026-03-01T10:00:00")}


def test_writer_of_time_only_change_is_open():
    warehouse = matched(source_updated_at="2026-03-01T10:00:01")
    portal = citizens().insert("c")
    assert record(warehouse, portal)["updated_by"] is None
    portal.update("c", email=None, updated_at=LATER)
    assert "updated_by" not in record(warehouse, portal)
    portal.update("c", email="b@example.in", updated_at=LATER)
    assert record(warehouse, portal)["updated_by"] == "citizen_portal"


def test_an_unmatched_citizen_makes_a_record_for_review():
    (made,) = golden_records([], wanted(citizens().insert("c"))).values()
    assert (made.gr_id, made.citizen) == (None, "c")
    assert made.columns["review_required"] is True
    assert made.columns["full_name"] == "Asha Devi"


def test_corrected_number_flags_old_record_and_no_more():
    warehouse = matched(full_name="A. Devi", source_updated_at="2026-03-09T00:00:00")
    portal = citizens().insert("c").update("c", aadhaar_number="1")
    expected = golden_records(warehouse.changes, wanted(portal))
    assert expected["a"].columns["review_required"] is True
    assert expected["a"].columns["full_name"] == "A. Devi"
    assert expected["1"].gr_id is None


def test_later_of_two_writers_of_column_wins():
    portal = citizens().insert("c")
    sink = {"writer": SINK, "source_updated_at": "2026-03-01T10:00:00"}
    before = matched().update("a", full_name="Operator").update("a", **sink)
    after = matched().update("a", **sink).update("a", full_name="Operator")
    assert record(before, portal)["full_name"] == "Asha Devi"
    assert record(after, portal)["full_name"] == "Operator"


def test_version_may_be_written_together_with_next():
    portal = citizens().insert("c").update("c", email="new@example.in", updated_at=LATER)
    warehouse = matched().update("a", SINK, source_updated_at=LATER)
    warehouse.update("a", full_name="Operator")
    columns = record(warehouse, portal)
    assert (columns["full_name"], columns["email"]) == ("Operator", "new@example.in")


def test_what_the_sink_wrote_is_not_believed():
    warehouse = matched().update(
        "a", SINK, full_name="Wrong", source_updated_at="2026-03-01T10:00:00"
    )
    assert record(warehouse, citizens().insert("c"))["full_name"] == "Asha Devi"


def test_unrequested_record_of_sink_is_unexpected():
    warehouse = golden().insert("a", SINK, jan_aadhaar="7")
    assert not golden_records(warehouse.changes, Asked())


def test_a_deleted_record_is_not_expected():
    assert not golden_records(golden().insert("a").delete("a").changes, Asked())
