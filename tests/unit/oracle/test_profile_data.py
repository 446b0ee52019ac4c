"""What the oracle says about flow 2, on histories small enough to check by eye."""

import pytest

from ...oracle.history import moment
from ...oracle.profile_data import profile_data
from ...oracle.story import Story, golden

NOW = moment("2026-03-20T00:00:00")


def expected(story: Story):
    return {key: profile.columns for key, profile in profile_data(story.changes, NOW).items()}


def times(story: Story, key: str = "a"):
    return profile_data(story.changes, NOW)[key].times


def test_an_inserted_record_is_there():
    assert expected(golden().insert("a")) == {
        "a": {
            "record_id": "a",
            "family_id": "a",
            "jan_aadhaar": None,
            "full_name": "Asha Devi",
            "date_of_birth": "1980-02-29",
            "gender": "Female",
            "district_id": 17,
            "city": "Rampura",
            "mobile_number": None,
            "email": None,
        }
    }


def test_a_member_belongs_to_its_head():
    assert expected(golden().insert("b", family_id="a"))["b"]["family_id"] == "a"


def test_no_gender_is_unknown():
    assert expected(golden().insert("a", gender=None))["a"]["gender"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("column", "value", "masked"),
    [
        ("jan_aadhaar", "123456781234", "****-****-1234"),
        ("jan_aadhaar", "123", "****-****-****"),
        ("jan_aadhaar", "1234", "****-****-****"),
        ("mobile_number", "0123455678", "******5678"),
        ("mobile_number", "5678", "**********"),
        ("email", "user@example.com", "u***@example.com"),
        ("email", "u@example.com", "***@example.com"),
        ("email", "nobody", "***@***"),
        ("email", None, None),
    ],
)
def test_personal_values_are_masked(column, value, masked):
    assert expected(golden().insert("a", **{column: value}))["a"][column] == masked


@pytest.mark.parametrize("status", ["merged", "inactive", "MERGED", "Inactive"])
def test_a_record_that_is_no_longer_active_goes(status):
    story = golden().insert("a").update("a", status=status)
    assert not expected(story)


@pytest.mark.parametrize("status", ["active", "ACTIVE", None])
def test_an_active_record_stays(status):
    assert expected(golden().insert("a", status=status))


def test_a_retired_record_comes_back():
    story = golden().insert("a").update("a", status="merged").update("a", status="Active")
    assert expected(story)


def test_deleted_record_may_return_with_older_time():
    story = golden().insert("a").delete("a")
    assert not expected(story)
    assert expected(story.insert("a", updated_at="2026-02-28T00:00:00"))


def test_record_under_new_key_is_there_once():
    story = golden().insert("a").update("a", gr_id="b")
    assert list(expected(story)) == ["b"]
    assert expected(story)["b"]["family_id"] == "b"


def test_version_older_than_thirty_days_is_not_carried():
    old = "2026-02-17T23:59:59"
    assert not expected(golden().insert("a", updated_at=old))
    story = golden().insert("a", updated_at=old).update("a", updated_at="2026-03-02T00:00:00")
    assert expected(story)


def test_a_version_whose_time_went_backwards_loses():
    story = golden().insert("a", updated_at="2026-03-02T00:00:00")
    story.update("a", full_name="Asha", updated_at="2026-03-01T23:59:59.9")
    assert expected(story)["a"]["full_name"] == "Asha Devi"
    story.update("a", status="merged", updated_at="2026-03-01T23:59:59.95")
    assert expected(story)


def test_of_two_versions_of_one_time_later_wins():
    story = golden().insert("a").update("a", full_name="Asha")
    assert expected(story)["a"]["full_name"] == "Asha"


def test_unmapped_change_may_move_the_time():
    story = golden().insert("a").update("a", age=47, updated_at="2026-03-02T00:00:00")
    assert times(story) == {"2026-03-01T10:00:00", "2026-03-02T00:00:00"}
    story.update("a", full_name="Asha", updated_at="2026-03-03T00:00:00")
    assert times(story) == {"2026-03-03T00:00:00"}


def test_returned_record_carries_no_former_time():
    story = golden().insert("a").update("a", status="merged")
    story.update("a", status="active", updated_at="2026-03-02T00:00:00")
    assert times(story) == {"2026-03-02T00:00:00"}


def test_a_batch_carries_a_version_of_any_age():
    story = golden().insert("a", updated_at="2020-01-01T00:00:00")
    assert list(profile_data(story.changes, NOW, None)) == ["a"]
