"""Expected rows of flow 2, for histories small enough to check by hand."""

import pytest

from ...oracle.history import parse_time
from ...oracle.history_builder import HistoryBuilder, golden_history
from ...oracle.profile_data import compute_profiles

NOW = parse_time("2026-03-20T00:00:00")


def expected(history: HistoryBuilder):
    return {key: profile.columns for key, profile in compute_profiles(history.changes, NOW).items()}


def allowed_times(history: HistoryBuilder, key: str = "a"):
    return compute_profiles(history.changes, NOW)[key].allowed_times


def test_inserted_record_has_profile():
    assert expected(golden_history().insert("a")) == {
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


def test_member_has_family_of_its_head():
    assert expected(golden_history().insert("b", family_id="a"))["b"]["family_id"] == "a"


def test_null_gender_becomes_unknown():
    assert expected(golden_history().insert("a", gender=None))["a"]["gender"] == "UNKNOWN"


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
        ("email", "no-at-sign", "***@***"),
        ("email", None, None),
    ],
)
def test_personal_values_are_masked(column, value, masked):
    assert expected(golden_history().insert("a", **{column: value}))["a"][column] == masked


@pytest.mark.parametrize("status", ["merged", "inactive", "MERGED", "Inactive"])
def test_record_no_longer_active_is_removed(status):
    history = golden_history().insert("a").update("a", status=status)
    assert not expected(history)


@pytest.mark.parametrize("status", ["active", "ACTIVE", None])
def test_active_record_stays(status):
    assert expected(golden_history().insert("a", status=status))


def test_reactivated_record_returns():
    history = golden_history().insert("a").update("a", status="merged").update("a", status="Active")
    assert expected(history)


def test_deleted_record_may_return_with_older_time():
    history = golden_history().insert("a").delete("a")
    assert not expected(history)
    assert expected(history.insert("a", updated_at="2026-02-28T00:00:00"))


def test_record_with_new_key_has_one_profile():
    history = golden_history().insert("a").update("a", gr_id="b")
    assert list(expected(history)) == ["b"]
    assert expected(history)["b"]["family_id"] == "b"


def test_version_older_than_thirty_days_is_ignored():
    too_old = "2026-02-17T23:59:59"
    assert not expected(golden_history().insert("a", updated_at=too_old))
    history = (
        golden_history()
        .insert("a", updated_at=too_old)
        .update("a", updated_at="2026-03-02T00:00:00")
    )
    assert expected(history)


def test_version_with_earlier_time_loses():
    history = golden_history().insert("a", updated_at="2026-03-02T00:00:00")
    history.update("a", full_name="Asha", updated_at="2026-03-01T23:59:59.9")
    assert expected(history)["a"]["full_name"] == "Asha Devi"
    history.update("a", status="merged", updated_at="2026-03-01T23:59:59.95")
    assert expected(history)


def test_later_of_two_versions_with_equal_time_wins():
    history = golden_history().insert("a").update("a", full_name="Asha")
    assert expected(history)["a"]["full_name"] == "Asha"


def test_unmapped_change_may_update_time():
    history = golden_history().insert("a").update("a", age=47, updated_at="2026-03-02T00:00:00")
    assert allowed_times(history) == {"2026-03-01T10:00:00", "2026-03-02T00:00:00"}
    history.update("a", full_name="Asha", updated_at="2026-03-03T00:00:00")
    assert allowed_times(history) == {"2026-03-03T00:00:00"}


def test_reactivated_record_discards_earlier_times():
    history = golden_history().insert("a").update("a", status="merged")
    history.update("a", status="active", updated_at="2026-03-02T00:00:00")
    assert allowed_times(history) == {"2026-03-02T00:00:00"}


def test_batch_run_writes_versions_of_any_age():
    history = golden_history().insert("a", updated_at="2020-01-01T00:00:00")
    assert list(compute_profiles(history.changes, NOW, None)) == ["a"]
