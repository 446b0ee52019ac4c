"""Flow 1: the warehouse's schemes in the portal, which has more to say of them."""

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
SWITCHED_OFF = SetColumns({"status": "INACTIVE"})


def scheme(**changed: Any) -> Sample:
    """A row as a batch reads it."""
    return snapshot(**PENSION | changed)


class TestContract(MappingContract):
    plugin = "schemes"
    policies = POLICIES
    samples = (scheme(), scheme(status="archived"), scheme(description=None), delete(**PENSION))


@pytest.fixture
def sink() -> Harness:
    return Harness("schemes", policies=POLICIES)


def test_it_is_the_batch_of_every_midnight(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("0 0 * * *", True)


class TestStatus:
    @pytest.mark.parametrize("status", ["active", "ACTIVE", "Active"])
    def test_an_active_scheme_is_written_in_upper_case(self, sink: Harness, status: str) -> None:
        assert sink.send(scheme(status=status)).row["status"] == "ACTIVE"

    @pytest.mark.parametrize("status", ["inactive", "ARCHIVED", "closed", "", None])
    def test_any_other_is_switched_off(self, sink: Harness, status: str | None) -> None:
        outcome = sink.send(scheme(status=status))
        assert outcome.leaves == [(("OLD_AGE_PENSION",), SWITCHED_OFF)]

    def test_one_that_is_gone_is_switched_off(self, sink: Harness) -> None:
        assert sink.mapping.shared_target
        assert sink.mapping.on_remove == SWITCHED_OFF
        assert sink.send(delete(**PENSION)).leaves == [(("OLD_AGE_PENSION",), SWITCHED_OFF)]


class TestId:
    def test_a_code_always_has_the_same(self, sink: Harness) -> None:
        once, again = (sink.send(scheme(description=text)).row["id"] for text in "ab")
        assert once == again == str(uuid5(NAMESPACE_OID, "OLD_AGE_PENSION"))

    def test_two_codes_have_two(self, sink: Harness) -> None:
        assert sink.send(scheme()).row["id"] != sink.send(scheme(scheme_code="NREGA")).row["id"]

    def test_the_warehouse_s_number_is_not_even_read(self, sink: Harness) -> None:
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


def known(portal: TargetHarness, **columns: Any) -> UUID:
    """The portal has the scheme already, and says more of it than the warehouse knows."""
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


def found(portal: TargetHarness) -> dict[str, Any]:
    (row,) = portal.rows()
    return dict(row)


@pytest.mark.postgres
class TestInTheDatabase:
    def test_a_new_scheme_arrives_whole(self, portal: TargetHarness) -> None:
        assert portal.send(scheme()) == 1
        row = found(portal)
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
    def test_json_stays_what_it_is(self, portal: TargetHarness, target: str, source: str) -> None:
        portal.send(scheme())
        assert found(portal)[target] == json.loads(PENSION[source])
        portal.send(scheme(**{source: None}))
        assert found(portal)[target] is None

    def test_a_known_scheme_keeps_its_id(self, portal: TargetHarness) -> None:
        own = known(portal)
        portal.send(scheme())
        assert (found(portal)["id"], found(portal)["name"]) == (own, "Old Age Pension")

    def test_what_only_the_portal_knows_survives(self, portal: TargetHarness) -> None:
        known(portal)
        portals = ("name_hindi", "description_hindi", "start_date", "end_date", "created_at")
        before = [found(portal)[name] for name in portals]
        portal.send(scheme())
        portal.send(scheme(status="inactive"))
        portal.send(scheme(description="New"))
        assert [found(portal)[name] for name in portals] == before
        assert None not in before

    def test_the_warehouse_wins_whatever_the_time(self, portal: TargetHarness) -> None:
        known(portal, last_updated=NOW + timedelta(days=1))
        portal.send(scheme())
        assert found(portal)["name"] == "Old Age Pension"

    def test_inactive_scheme_is_switched_off_and_on_again(self, portal: TargetHarness) -> None:
        portal.send(scheme())
        portal.send(scheme(status="Inactive"))
        assert found(portal)["status"] == "INACTIVE"
        portal.send(scheme(status="ACTIVE"))
        assert found(portal)["status"] == "ACTIVE"

    def test_scheme_of_portal_alone_is_switched_off(self, portal: TargetHarness) -> None:
        known(portal, status="ACTIVE")
        portal.send(scheme(status="inactive"))
        assert found(portal)["status"] == "INACTIVE"

    def test_inactive_one_that_portal_lacks_is_not_made(self, portal: TargetHarness) -> None:
        portal.send(scheme(status="inactive"))
        assert portal.rows() == []

    def test_an_application_keeps_its_scheme(self, portal: TargetHarness) -> None:
        portal.send(scheme())
        portal.admin.execute(
            "WITH c AS (INSERT INTO citizens (full_name, mobile_number) VALUES ('R', '0123455678') "
            "RETURNING id) INSERT INTO service_applications (citizen_id, scheme_id, service_type) "
            "SELECT c.id, s.id, 'SCHEME' FROM c, schemes s"
        )
        portal.send(delete(**PENSION))
        assert found(portal)["status"] == "INACTIVE"
        assert portal.dead() == []

    def test_the_same_again_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(scheme(), scheme(scheme_code="OFF", status="inactive"))
        known(portal, code="OFF", status="ACTIVE")
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
    def test_row_that_breaks_rule_is_refused_by_name(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(scheme(**changed)).error)
        assert rule in error
        assert "Sports" not in error
