"""Flow 1: the warehouse's schemes in the portal, which has columns of its own."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import pytest

from sink_runner.plugin import SetColumns
from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    Sample,
    TargetHarness,
    delete,
    snapshot,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
PENSION = {
    "scheme_code": "OLD_AGE_PENSION",
    "scheme_name": "Old Age Pension",
    "description": "For those who are old.",
    "category": "SOCIAL_SECURITY",
    "department_name": "Social Justice",
    "eligibility_criteria_json": '{"min_age": 58}',
    "benefits_json": '[{"amount": 1000.50, "per": "month"}]',
    "documents_required_json": '["वोटर कार्ड"]',
    "status": "active",
    "created_at": NOW - timedelta(days=900),
    "updated_at": NOW,
}
DEACTIVATED = SetColumns({"status": "INACTIVE"})


def scheme(**changed: Any) -> Sample:
    """Return a row as a batch reads it."""
    return snapshot(**PENSION | changed)


class TestContract(MappingContract):
    plugin = "schemes"
    policies = POLICIES
    samples = (scheme(), scheme(status="archived"), scheme(description=None), delete(**PENSION))


@pytest.fixture
def sink() -> Harness:
    return Harness("schemes", policies=POLICIES)


def test_schedule_is_full_batch_at_midnight(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("0 0 * * *", True)


class TestStatus:
    @pytest.mark.parametrize("status", ["active", "ACTIVE", "Active"])
    def test_status_of_active_scheme_is_upper_case(self, sink: Harness, status: str) -> None:
        assert sink.send(scheme(status=status)).row["status"] == "ACTIVE"

    @pytest.mark.parametrize("status", ["inactive", "ARCHIVED", "closed", "", None])
    def test_other_status_deactivates_scheme(self, sink: Harness, status: str | None) -> None:
        outcome = sink.send(scheme(status=status))
        assert outcome.leaves == [(("OLD_AGE_PENSION",), DEACTIVATED)]

    def test_missing_or_deleted_scheme_is_deactivated(self, sink: Harness) -> None:
        assert sink.mapping.shared_target
        assert sink.mapping.on_remove == DEACTIVATED
        assert sink.send(delete(**PENSION)).leaves == [(("OLD_AGE_PENSION",), DEACTIVATED)]


class TestId:
    def test_id_is_derived_from_code(self, sink: Harness) -> None:
        first, second = (sink.send(scheme(description=text)).row["id"] for text in "ab")
        assert first == second == str(uuid5(NAMESPACE_OID, "OLD_AGE_PENSION"))

    def test_different_codes_have_different_ids(self, sink: Harness) -> None:
        assert sink.send(scheme()).row["id"] != sink.send(scheme(scheme_code="NREGA")).row["id"]

    def test_id_of_warehouse_is_not_read(self, sink: Harness) -> None:
        assert "scheme_id" not in sink.mapping.source_columns


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "schemes",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    yield harness
    harness.close()


def insert_scheme(portal: TargetHarness, **columns: Any) -> UUID:
    """Insert the scheme into the portal with columns that the warehouse does not have."""
    row = {
        "id": uuid4(),
        "code": "OLD_AGE_PENSION",
        "name": "Pension",
        "name_hindi": "वृद्धावस्था पेंशन",
        "description_hindi": "वृद्धों के लिए",
        "start_date": date(2020, 4, 1),
        "end_date": date(2030, 3, 31),
        **columns,
    }
    names, marks = ", ".join(row), ", ".join("%s" for _ in row)
    query = f"INSERT INTO schemes ({names}) VALUES ({marks})"
    portal.admin.execute(query.encode(), list(row.values()))
    return UUID(str(row["id"]))


def read_scheme(portal: TargetHarness) -> dict[str, Any]:
    (row,) = portal.rows()
    return dict(row)


@pytest.mark.postgres
class TestWrittenRows:
    def test_new_scheme_is_inserted(self, portal: TargetHarness) -> None:
        assert portal.send(scheme()) == 1
        row = read_scheme(portal)
        assert row["id"] == uuid5(NAMESPACE_OID, "OLD_AGE_PENSION")
        assert (row["code"], row["name"]) == ("OLD_AGE_PENSION", "Old Age Pension")
        assert (row["category"], row["department"]) == ("SOCIAL_SECURITY", "Social Justice")
        assert row["last_updated"] == NOW
        assert portal.dead() == []

    @pytest.mark.parametrize(
        ("target", "source"),
        [
            ("eligibility_criteria", "eligibility_criteria_json"),
            ("benefits", "benefits_json"),
            ("documents_required", "documents_required_json"),
        ],
    )
    def test_json_values_are_unchanged(
        self, portal: TargetHarness, target: str, source: str
    ) -> None:
        portal.send(scheme())
        assert read_scheme(portal)[target] == json.loads(PENSION[source])
        portal.send(scheme(**{source: None}))
        assert read_scheme(portal)[target] is None

    def test_existing_scheme_keeps_its_id(self, portal: TargetHarness) -> None:
        own = insert_scheme(portal)
        portal.send(scheme())
        assert (read_scheme(portal)["id"], read_scheme(portal)["name"]) == (own, "Old Age Pension")

    def test_columns_of_portal_are_kept(self, portal: TargetHarness) -> None:
        insert_scheme(portal)
        columns = ("name_hindi", "description_hindi", "start_date", "end_date", "created_at")
        before = [read_scheme(portal)[name] for name in columns]
        portal.send(scheme())
        portal.send(scheme(status="inactive"))
        portal.send(scheme(description="New"))
        assert [read_scheme(portal)[name] for name in columns] == before
        assert None not in before

    def test_warehouse_wins_at_any_time(self, portal: TargetHarness) -> None:
        insert_scheme(portal, last_updated=NOW + timedelta(days=1))
        portal.send(scheme())
        assert read_scheme(portal)["name"] == "Old Age Pension"

    def test_deactivated_scheme_can_become_active_again(self, portal: TargetHarness) -> None:
        portal.send(scheme())
        portal.send(scheme(status="Inactive"))
        assert read_scheme(portal)["status"] == "INACTIVE"
        portal.send(scheme(status="ACTIVE"))
        assert read_scheme(portal)["status"] == "ACTIVE"

    def test_scheme_inserted_by_portal_is_deactivated(self, portal: TargetHarness) -> None:
        insert_scheme(portal, status="ACTIVE")
        portal.send(scheme(status="inactive"))
        assert read_scheme(portal)["status"] == "INACTIVE"

    def test_inactive_scheme_is_not_inserted(self, portal: TargetHarness) -> None:
        portal.send(scheme(status="inactive"))
        assert portal.rows() == []

    def test_deleted_scheme_with_applications_is_deactivated(self, portal: TargetHarness) -> None:
        portal.send(scheme())
        portal.admin.execute(
            "WITH c AS (INSERT INTO citizens (full_name, mobile_number) VALUES ('R', '0123455678') "
            "RETURNING id) INSERT INTO service_applications (citizen_id, scheme_id, service_type) "
            "SELECT c.id, s.id, 'SCHEME' FROM c, schemes s"
        )
        portal.send(delete(**PENSION))
        assert read_scheme(portal)["status"] == "INACTIVE"
        assert portal.dead() == []

    def test_equal_row_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(scheme(), scheme(scheme_code="OFF", status="inactive"))
        insert_scheme(portal, code="OFF", status="ACTIVE")
        assert portal.send(scheme(scheme_code="OFF", status="inactive")) == 1
        assert portal.send(scheme(), scheme(scheme_code="OFF", status="inactive")) == 0


class TestQuality:
    @pytest.mark.parametrize(
        ("changed", "rule"),
        [
            ({"category": "Sports"}, "one_of"),
            ({"scheme_name": None}, "required"),
            ({"created_at": NOW + timedelta(seconds=1)}, "updated_at not before created_at"),
        ],
    )
    def test_error_names_rule_and_not_value(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(scheme(**changed)).error)
        assert rule in error
        assert "Sports" not in error
