"""Conflicts of golden records that the portal and the warehouse have both changed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sink_runner.testing import NOW, Sample, TargetHarness, create, delete, snapshot, update
from sink_runner.writer.conflicts import MASKED

pytestmark = pytest.mark.postgres
POLICIES = Path(__file__).parents[3] / "ranger-policies"
RAVI = {
    "id": "00000000-0000-4000-8000-000000000001",
    "aadhaar_number": "012345671234",
    "full_name": "Ravi Kumar",
    "date_of_birth": None,
    "gender": "MALE",
    "mobile_number": "0123455678",
    "email": "ravi@example.in",
    "city": "Bagru",
    "district": "Unknown",
    "pincode": "303007",
    "status": "ACTIVE",
    "verification_status": "VERIFIED",
    "created_at": NOW - timedelta(days=400),
    "updated_at": NOW,
}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def warehouse(postgres) -> Iterator[TargetHarness]:
    """A warehouse with the golden record of a citizen."""
    name = postgres.fresh_database(like="smart_warehouse")
    harness = TargetHarness(
        "citizens",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={"smart_warehouse": postgres.dsn(name, role="sink_reader")},
    )
    harness.send(create(**RAVI))
    yield harness
    harness.close()


def change_warehouse(warehouse: TargetHarness, at: Any = NOW + MINUTE, **columns: Any) -> None:
    """Change the record in the warehouse, with this time as updated_at."""
    sets = ", ".join(f"{name} = %s" for name in [*columns, "updated_at"])
    warehouse.admin.execute("ALTER TABLE golden_records DISABLE TRIGGER USER")
    query = f"UPDATE golden_records SET {sets}"
    warehouse.admin.execute(query.encode(), [*columns.values(), at])
    warehouse.admin.execute("ALTER TABLE golden_records ENABLE TRIGGER USER")


def portal_update(before: dict[str, Any], at: Any, **columns: Any) -> Sample:
    return update(before, **columns, updated_at=at)


def conflicts(warehouse: TargetHarness) -> list[dict[str, Any]]:
    query = "SELECT * FROM sink.conflict ORDER BY conflict_id"
    return [dict(row) for row in warehouse.admin.execute(query).fetchall()]


def column(warehouse: TargetHarness, name: str) -> Any:
    (row,) = warehouse.rows(name)
    return row[name]


class TestTimestampConflicts:
    def test_later_change_of_warehouse_is_conflict(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + 2 * MINUTE, city_village="Sanganer")
        warehouse.send(portal_update(RAVI, NOW + MINUTE, city="Chomu"))
        (found,) = conflicts(warehouse)
        assert found["conflict_type"] == "timestamp_conflict"
        assert (found["table_name"], found["source_database"]) == (
            "golden_records",
            "smart_citizen",
        )
        assert found["resolution_action"] == "source_wins"
        assert found["resolved_at"] is not None
        assert column(warehouse, "city_village") == "Chomu"

    def test_change_in_same_second_is_conflict(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + MINUTE, city_village="Sanganer")
        warehouse.send(portal_update(RAVI, NOW + MINUTE + timedelta(microseconds=9), city="Chomu"))
        assert [found["resolution_action"] for found in conflicts(warehouse)] == ["source_wins"]

    def test_earlier_change_of_warehouse_is_overwritten(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + MINUTE, city_village="Sanganer")
        warehouse.send(portal_update(RAVI, NOW + 2 * MINUTE, city="Chomu"))
        assert conflicts(warehouse) == []
        assert column(warehouse, "city_village") == "Chomu"

    def test_changes_of_different_columns_are_merged(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + 2 * MINUTE, full_name="Ravi K.")
        warehouse.send(portal_update(RAVI, NOW + MINUTE, city="Chomu"))
        assert conflicts(warehouse) == []
        assert column(warehouse, "full_name") == "Ravi K."

    def test_equal_changes_are_not_conflict(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + 2 * MINUTE, city_village="Chomu")
        warehouse.send(portal_update(RAVI, NOW + MINUTE, city="Chomu"))
        assert conflicts(warehouse) == []

    def test_consecutive_portal_changes_are_not_conflicts(self, warehouse: TargetHarness) -> None:
        """The sink's own write has a later time than the next change, but is not a foreign one."""
        one = portal_update(RAVI, NOW + MINUTE, city="Chomu")
        warehouse.send(one)
        warehouse.send(portal_update(dict(one.after), NOW + 2 * MINUTE, city="Bassi"))
        warehouse.send(
            portal_update(dict(one.after) | {"city": "Bassi"}, NOW + 2 * MINUTE, city="Phagi").at(
                NOW, 2
            )
        )
        assert conflicts(warehouse) == []
        assert column(warehouse, "city_village") == "Phagi"

    def test_repeated_event_keeps_newer_warehouse_change(self, warehouse: TargetHarness) -> None:
        moved = portal_update(RAVI, NOW + MINUTE, city="Bassi").at(NOW + MINUTE, 7)
        warehouse.send(moved)
        change_warehouse(warehouse, NOW + 2 * MINUTE, city_village="Sanganer")
        warehouse.send(moved)
        assert column(warehouse, "city_village") == "Sanganer"
        assert conflicts(warehouse) == []

    def test_replay_adds_no_conflict(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, at=NOW + 9 * MINUTE, city_village="Sanganer")
        one = portal_update(RAVI, NOW + MINUTE, city="Chomu")
        two = portal_update(dict(one.after), NOW + 2 * MINUTE, city="Bassi")
        warehouse.send(one, two)
        recorded = conflicts(warehouse)
        warehouse.send(create(**RAVI), one, two)
        assert conflicts(warehouse) == recorded
        assert len(recorded) == 1
        assert column(warehouse, "city_village") == "Bassi"


class TestDataConflicts:
    def test_snapshot_of_older_version_is_not_conflict(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, city_village="Sanganer")
        warehouse.send(snapshot(**RAVI))
        assert column(warehouse, "city_village") == "Sanganer"
        assert conflicts(warehouse) == []

    def test_snapshot_without_change_is_not_conflict(self, warehouse: TargetHarness) -> None:
        warehouse.send(snapshot(**RAVI))
        assert conflicts(warehouse) == []


class TestRecordedConflict:
    def test_personal_values_are_masked(self, warehouse: TargetHarness) -> None:
        change_warehouse(
            warehouse, full_name="Ramesh", city_village="Sanganer", mobile_number="0000000000"
        )
        warehouse.send(
            portal_update(RAVI, NOW + MINUTE, full_name="R", mobile_number="1", city="Chomu")
        )
        (found,) = conflicts(warehouse)
        names = {"full_name", "mobile_number", "city_village"}
        assert found["source_value"] == dict.fromkeys(names, MASKED)
        assert found["target_value"] == dict.fromkeys(names, MASKED)
        number = RAVI["aadhaar_number"].encode()
        assert found["record_id"] == warehouse.encryptor.fingerprint(number).hex()

    def test_conflict_is_audited(self, warehouse: TargetHarness) -> None:
        change_warehouse(warehouse, city_village="Sanganer")
        warehouse.send(portal_update(RAVI, NOW + MINUTE, city="Chomu"))
        query = "SELECT details FROM sink.audit_log WHERE event_type = 'conflict'"
        (row,) = warehouse.admin.execute(query).fetchall()
        assert row["details"]["conflicts"] == {"timestamp_conflict": 1}


class TestDeletionConflicts:
    def test_open_conflict_is_recorded_once(self, warehouse: TargetHarness) -> None:
        warehouse.send(delete(**RAVI))
        warehouse.send(delete(**RAVI))
        (found,) = conflicts(warehouse)
        assert found["resolution_action"] == "manual_review"
        assert (found["resolved_at"], found["target_value"]) == (None, None)

    def test_resolved_conflict_can_be_recorded_again(self, warehouse: TargetHarness) -> None:
        warehouse.send(delete(**RAVI))
        warehouse.admin.execute("UPDATE sink.conflict SET resolved_at = now()")
        warehouse.send(delete(**RAVI))
        assert len(conflicts(warehouse)) == 2
