"""Flow 8: a citizen's changes in the portal reach the golden record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sink_runner.plugin import Review, SetColumns
from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    TargetHarness,
    create,
    delete,
    snapshot,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
RAVI = {
    "id": "00000000-0000-4000-8000-000000000001",
    "aadhaar_number": "012345671234",
    "full_name": "Ravi Kumar",
    "date_of_birth": date(1990, 5, 1),
    "gender": "MALE",
    "mobile_number": "0123455678",
    "email": "ravi@example.in",
    "city": "Bagru",
    "district": "Jaipur",
    "pincode": "303007",
    "status": "ACTIVE",
    "verification_status": "VERIFIED",
    "created_at": NOW - timedelta(days=400),
    "updated_at": NOW,
}
LATER = NOW + timedelta(minutes=1)


class TestContract(MappingContract):
    plugin = "citizens"
    policies = POLICIES
    samples = (
        create(**RAVI),
        update(RAVI, city="Jaipur", updated_at=LATER),
        create(**RAVI | {"verification_status": "PENDING"}),
        delete(**RAVI),
    )
    broken = (
        (create(**RAVI | {"created_at": LATER}), "updated_at not before created_at"),
        (create(**RAVI | {"updated_at": None}), "required"),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness(
        "citizens",
        policies=POLICIES,
        found={"district_id": {"jaipur": 7}},
        types={"district_id": "integer"},
    )


class TestFilter:
    @pytest.mark.parametrize(
        "changed",
        [
            {"verification_status": "PENDING"},
            {"verification_status": "REJECTED"},
            {"verification_status": None},
            {"status": "INACTIVE"},
            {"status": "SUSPENDED"},
            {"status": None},
            {"aadhaar_number": None},
            {"aadhaar_number": ""},
        ],
    )
    def test_unverified_or_inactive_citizen_changes_nothing(
        self, sink: Harness, changed: dict[str, Any]
    ) -> None:
        outcome = sink.send(create(**RAVI | changed))
        assert (outcome.rows, outcome.leaves, outcome.error) == ([], [], None)

    @pytest.mark.parametrize(
        "changed",
        [{"verification_status": "verified"}, {"status": "active"}, {"status": "VERIFIED"}],
    )
    def test_case_of_status_does_not_matter(self, sink: Harness, changed: dict[str, Any]) -> None:
        assert sink.send(create(**RAVI | changed)).row["full_name"] == "Ravi Kumar"

    def test_deleted_verified_citizen_is_a_conflict(self, sink: Harness) -> None:
        assert sink.send(delete(**RAVI)).leaves == [
            (("012345671234",), Review("deletion_conflict"))
        ]

    def test_change_of_key_is_not_a_deletion(self, sink: Harness) -> None:
        assert sink.send(replace(delete(**RAVI), moved=True)).leaves == []

    def test_deleted_unverified_citizen_is_not_a_conflict(self, sink: Harness) -> None:
        assert sink.send(delete(**RAVI | {"verification_status": "PENDING"})).leaves == []


class TestColumns:
    def test_values_have_format_of_warehouse(self, sink: Harness) -> None:
        row = sink.send(create(**RAVI)).row
        assert row["gender"] == "Male"
        assert row["district_id"] == 7
        assert row["updated_by"] == "citizen_portal"
        assert row["jan_aadhaar"] == "012345671234"

    def test_login_changes_nothing(self, sink: Harness) -> None:
        assert sink.send(update(RAVI, updated_at=LATER)).rows == []

    def test_change_of_case_changes_nothing(self, sink: Harness) -> None:
        assert sink.send(update(RAVI, gender="Male", district=" JAIPUR ")).rows == []

    def test_verification_copies_all_columns(self, sink: Harness) -> None:
        pending = RAVI | {"verification_status": "PENDING"}
        assert sink.send(update(pending, verification_status="VERIFIED")).row["city_village"]

    def test_a_corrected_number_flags_the_old_record(self, sink: Harness) -> None:
        outcome = sink.send(update(RAVI, aadhaar_number="012345670000"))
        ((key, action),) = outcome.leaves
        assert key == ("012345671234",)
        assert isinstance(action, SetColumns)
        assert outcome.row["jan_aadhaar"] == "012345670000"

    def test_corrected_number_of_unverified_citizen_flags_nothing(self, sink: Harness) -> None:
        pending = RAVI | {"verification_status": "PENDING"}
        changed = {"aadhaar_number": "012345670000", "verification_status": "VERIFIED"}
        assert sink.send(update(pending, **changed)).leaves == []


@pytest.fixture
def warehouse(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_warehouse")
    harness = TargetHarness(
        "citizens",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={"smart_warehouse": postgres.dsn(name, role="sink_reader")},
    )
    harness.admin.execute(
        "INSERT INTO districts (district_id, district_code, district_name) VALUES "
        "(7, 'JAI', 'Jaipur'), (8, 'GAN', 'Ganganagar'), (9, 'SRI', 'Sri Ganganagar')"
    )
    harness.admin.execute("INSERT INTO district_alias VALUES ('sri ganganagar', 8)")
    yield harness
    harness.close()


def insert_golden_record(warehouse: TargetHarness, **columns: Any) -> None:
    """Insert a golden record with Ravi's number."""
    row = {"jan_aadhaar": RAVI["aadhaar_number"], "full_name": "Ravi", "district_id": 9, **columns}
    names, marks = ", ".join(row), ", ".join("%s" for _ in row)
    query = f"INSERT INTO golden_records ({names}) VALUES ({marks})"
    warehouse.admin.execute(query.encode(), list(row.values()))


def read_record(warehouse: TargetHarness) -> dict[str, Any]:
    (row,) = warehouse.rows()
    return dict(row)


@pytest.mark.postgres
class TestMatching:
    def test_known_number_updates_golden_record(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse)
        warehouse.send(create(**RAVI))
        row = read_record(warehouse)
        assert row["full_name"] == "Ravi Kumar"
        assert row["district_id"] == 7
        assert row["source_updated_at"] == NOW
        assert row["updated_by"] == "citizen_portal"
        assert row["review_required"] is False

    def test_unknown_number_inserts_record_for_review(self, warehouse: TargetHarness) -> None:
        warehouse.send(create(**RAVI))
        row = read_record(warehouse)
        assert row["review_required"] is True
        assert row["review_reason"]
        assert row["citizen_id"] is None
        assert row["family_id"] is None

    def test_finished_review_is_not_reopened(self, warehouse: TargetHarness) -> None:
        warehouse.send(create(**RAVI))
        warehouse.admin.execute("UPDATE golden_records SET review_required = false")
        warehouse.send(update(RAVI, city="Jaipur", updated_at=LATER))
        assert read_record(warehouse)["review_required"] is False

    def test_a_corrected_number_flags_the_old_record(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse)
        warehouse.send(update(RAVI, aadhaar_number="012345670000", updated_at=LATER))
        old, new = warehouse.rows("review_required", "source_updated_at", order="jan_aadhaar DESC")
        assert old["review_required"] is True
        assert new["source_updated_at"] == LATER


@pytest.mark.postgres
class TestConflicts:
    def test_older_change_of_portal_is_ignored(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, source_updated_at=LATER)
        assert warehouse.send(create(**RAVI)) == 0
        assert read_record(warehouse)["full_name"] == "Ravi"

    def test_updated_at_of_warehouse_does_not_decide(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse)  # updated_at is the current time, long after NOW
        assert read_record(warehouse)["updated_at"] > NOW
        warehouse.send(snapshot(**RAVI))
        assert read_record(warehouse)["full_name"] == "Ravi Kumar"

    def test_portal_wins_at_equal_times(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, source_updated_at=NOW)
        warehouse.send(create(**RAVI))
        assert read_record(warehouse)["full_name"] == "Ravi Kumar"

    def test_snapshot_keeps_newer_values_of_warehouse(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, source_updated_at=NOW, full_name="Corrected")
        assert warehouse.send(snapshot(**RAVI)) == 0
        assert read_record(warehouse)["full_name"] == "Corrected"
        warehouse.send(snapshot(**RAVI | {"updated_at": LATER}))
        assert read_record(warehouse)["full_name"] == "Ravi Kumar"

    def test_null_does_not_overwrite_value(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, email="r@example.in")
        warehouse.send(create(**RAVI | {"email": None}))
        assert read_record(warehouse)["email"] == "r@example.in"

    def test_removed_unknown_district_changes_nothing(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, source_updated_at=NOW)
        nowhere = RAVI | {"district": "Nowhere"}
        assert warehouse.send(update(nowhere, district=None, updated_at=LATER)) == 0
        assert read_record(warehouse)["source_updated_at"] == NOW

    def test_unchanged_columns_keep_value_of_warehouse(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, pincode="999999")
        warehouse.send(update(RAVI, city="Jaipur", updated_at=LATER))
        row = read_record(warehouse)
        assert row["city_village"] == "Jaipur"
        assert row["full_name"] == "Ravi"
        assert row["pincode"] == "999999"
        assert row["source_updated_at"] == LATER

    def test_changes_of_one_batch_are_merged(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse)
        moved = RAVI | {"city": "Jaipur", "updated_at": LATER}
        warehouse.send(update(RAVI, **moved), update(moved, full_name="R. Kumar").at(NOW, 2))
        row = read_record(warehouse)
        assert (row["city_village"], row["full_name"]) == ("Jaipur", "R. Kumar")

    def test_warehouse_sets_its_own_updated_at(self, warehouse: TargetHarness) -> None:
        start = datetime.now(UTC).replace(tzinfo=None)
        warehouse.send(create(**RAVI))
        assert abs(read_record(warehouse)["updated_at"] - start) < timedelta(minutes=5)


@pytest.mark.postgres
class TestDistricts:
    @pytest.mark.parametrize(
        ("spelling", "expected"),
        [("jaipur", 7), ("  JAIPUR", 7), ("Ganganagar", 8), ("Sri  Ganganagar", 8)],
    )
    def test_district_is_found_by_name_or_alias(
        self, warehouse: TargetHarness, spelling: str, expected: int
    ) -> None:
        warehouse.send(create(**RAVI | {"district": spelling}))
        assert read_record(warehouse)["district_id"] == expected

    @pytest.mark.parametrize(("spelling", "expected"), [("Sri  Ganganagar", 9), ("Jaipur", 7)])
    def test_other_spelling_does_not_stop_other_columns(
        self, warehouse: TargetHarness, spelling: str, expected: int
    ) -> None:
        insert_golden_record(warehouse)
        before = RAVI | {"district": "Ganganagar"}
        warehouse.send(update(before, district=spelling, city="Jaipur", updated_at=LATER))
        assert read_record(warehouse)["city_village"] == "Jaipur"
        assert read_record(warehouse)["district_id"] == expected

    def test_other_spelling_of_district_changes_nothing(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse, source_updated_at=NOW)
        before = RAVI | {"district": "Ganganagar"}
        assert warehouse.send(update(before, district="Sri Ganganagar", updated_at=LATER)) == 0
        assert read_record(warehouse)["source_updated_at"] == NOW

    def test_unknown_district_keeps_known_one(self, warehouse: TargetHarness) -> None:
        insert_golden_record(warehouse)
        warehouse.send(create(**RAVI | {"district": "Unknown"}))
        assert read_record(warehouse)["district_id"] == 9


@pytest.mark.postgres
def test_deleted_citizen_is_conflict_and_keeps_record(warehouse: TargetHarness) -> None:
    insert_golden_record(warehouse)
    warehouse.send(delete(**RAVI))
    assert read_record(warehouse)["full_name"] == "Ravi"
    (conflict,) = warehouse.admin.execute("SELECT * FROM sink.conflict").fetchall()
    assert conflict["conflict_type"] == "deletion_conflict"
    assert conflict["resolution_action"] == "manual_review"
    assert conflict["source_database"] == "smart_citizen"
    assert conflict["table_name"] == "golden_records"
    assert RAVI["aadhaar_number"] not in str(conflict)


@pytest.mark.postgres
def test_writes_carry_replication_origin(warehouse: TargetHarness) -> None:
    warehouse.send(create(**RAVI))
    origins = warehouse.admin.execute(
        "SELECT external_id FROM pg_replication_origin_status "
        "WHERE external_id LIKE 'sink/citizens/%%'"
    ).fetchall()
    assert origins
