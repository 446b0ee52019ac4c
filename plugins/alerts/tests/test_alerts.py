"""Flow 7: each alert for a family reaches one citizen of the family."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sink_runner.errors import WaitingError
from sink_runner.plugin import Ignore
from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    Sample,
    TargetHarness,
    create,
    delete,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
FAMILY = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
HEAD, ANNA, BERT = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
ALERT = {
    "alert_id": "00000000-0000-4000-8000-0000000000a1",
    "family_id": FAMILY,
    "alert_type": "BENEFIT_EXPIRY",
    "severity": "HIGH",
    "message": "A benefit of your family ends soon.",
    "action_url": "https://portal.example/benefits",
    "created_at": NOW,
}


def alert(**changed: Any) -> Sample:
    return create(**ALERT | changed)


class TestContract(MappingContract):
    plugin = "alerts"
    policies = POLICIES
    samples = (alert(), alert(action_url=None), update(ALERT, severity="LOW"), delete(**ALERT))

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("alerts", policies=POLICIES, found={"citizen_id": {FAMILY: HEAD}})


@pytest.fixture
def sink() -> Harness:
    return Harness("alerts", policies=POLICIES, found={"citizen_id": {FAMILY: HEAD}})


class TestMessage:
    @pytest.mark.parametrize(
        ("text", "masked"),
        [
            ("Two records carry 987612341234.", "Two records carry ***MASKED***."),
            ("Call 9876545678 now", "Call ***MASKED*** now"),
            ("Write to user@example.com", "Write to ***MASKED***"),
            ("Band VERY_LOW or UNCERTAIN", "Band CONFIDENTIAL or CONFIDENTIAL"),
            ("Your income is LOW", "Your income is CONFIDENTIAL"),
            ("HIGH income, again", "CONFIDENTIAL income, again"),
            ("The risk is HIGH and the priority MEDIUM", None),
            ("A benefit of 12000 rupees ends on 2026-03-31", None),
        ],
    )
    def test_message_is_scrubbed_by_policies(
        self, sink: Harness, text: str, masked: str | None
    ) -> None:
        assert sink.send(alert(message=text)).row["message"] == (masked or text)


class TestQuality:
    @pytest.mark.parametrize("severity", ["LOW", "MEDIUM", "HIGH", "CRITICAL"])
    def test_known_severity_passes(self, sink: Harness, severity: str) -> None:
        assert sink.send(alert(severity=severity)).row["severity"] == severity

    @pytest.mark.parametrize(
        ("changed", "rule"),
        [
            ({"severity": "URGENT"}, "one_of"),
            ({"severity": "high"}, "one_of"),
            ({"severity": None}, "required"),
            ({"alert_type": None}, "required"),
            ({"message": None}, "required"),
            ({"created_at": None}, "required"),
        ],
    )
    def test_error_names_column_and_rule(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(alert(**changed)).error)
        assert rule in error
        assert next(iter(changed)) in error
        assert "URGENT" not in error


def test_alert_stays_after_outbox_deletion(sink: Harness) -> None:
    assert [action for _, action in sink.send(delete(**ALERT)).leaves] == [Ignore()]
    assert sink.mapping.on_remove == Ignore()


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "alerts",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={"smart_citizen": postgres.dsn(name, role="sink_reader")},
    )
    yield harness
    harness.close()


def insert_citizen(
    portal: TargetHarness,
    id_: str,
    verification: str = "VERIFIED",
    created: datetime = NOW,
    **identity: Any,
) -> None:
    """Insert a citizen and their row of the identity map, with `identity` as its columns."""
    portal.admin.execute(
        "INSERT INTO citizens (id, full_name, mobile_number, verification_status, created_at) "
        "VALUES (%s, 'Ravi', '0123455678', %s, %s)",
        (id_, verification, created),
    )
    row = {"citizen_id": id_, "family_id": FAMILY, **identity}
    names, marks = ", ".join(row), ", ".join("%s" for _ in row)
    query = f"INSERT INTO citizen_identity_map ({names}) VALUES ({marks})"
    portal.admin.execute(query.encode(), list(row.values()))


def read_recipients(portal: TargetHarness) -> list[str]:
    return [str(row["citizen_id"]) for row in portal.rows("citizen_id", order="alert_id")]


def is_deferred(portal: TargetHarness, sample: Sample) -> bool:
    dead_letters = portal.batch(sample).dead_letters
    return len(dead_letters) == 1 and isinstance(dead_letters[0].error, WaitingError)


@pytest.mark.postgres
class TestRecipient:
    def test_alert_goes_to_head_of_family(self, portal: TargetHarness) -> None:
        insert_citizen(portal, ANNA, created=NOW - timedelta(days=9))
        insert_citizen(portal, HEAD, is_family_head=True)
        portal.send(alert())
        assert read_recipients(portal) == [HEAD]

    def test_head_without_family_id_receives_alert(self, portal: TargetHarness) -> None:
        insert_citizen(portal, ANNA)
        insert_citizen(portal, HEAD, is_family_head=True, family_id=None, gr_id=FAMILY)
        portal.send(alert())
        assert read_recipients(portal) == [HEAD]

    def test_unverified_head_receives_alert(self, portal: TargetHarness) -> None:
        insert_citizen(portal, ANNA)
        insert_citizen(portal, HEAD, "PENDING", is_family_head=True)
        portal.send(alert())
        assert read_recipients(portal) == [HEAD]

    def test_oldest_verified_member_replaces_missing_head(self, portal: TargetHarness) -> None:
        insert_citizen(portal, HEAD, "PENDING", NOW - timedelta(days=9))
        insert_citizen(portal, ANNA, "VERIFIED", NOW - timedelta(days=1))
        insert_citizen(portal, BERT, "verified", NOW - timedelta(days=2))
        portal.send(alert())
        assert read_recipients(portal) == [BERT]

    def test_lower_id_decides_between_equally_old_members(self, portal: TargetHarness) -> None:
        for member in (BERT, ANNA):
            insert_citizen(portal, member)
        portal.send(alert())
        assert read_recipients(portal) == [ANNA]

    def test_each_family_has_own_recipient(self, portal: TargetHarness) -> None:
        insert_citizen(portal, ANNA)
        insert_citizen(portal, BERT, family_id=OTHER)
        second = ALERT["alert_id"].replace("a1", "a2")
        portal.send(alert(), alert(alert_id=second, family_id=OTHER))
        assert read_recipients(portal) == [ANNA, BERT]

    @pytest.mark.parametrize("status", ["PENDING", "REJECTED", None])
    def test_alert_is_deferred_without_recipient(
        self, portal: TargetHarness, status: str | None
    ) -> None:
        assert is_deferred(portal, alert())
        insert_citizen(portal, ANNA, status)
        assert is_deferred(portal, alert())
        insert_citizen(portal, BERT, family_id=OTHER)
        assert is_deferred(portal, alert())


@pytest.mark.postgres
class TestInsertedOnce:
    @pytest.fixture(autouse=True)
    def family(self, portal: TargetHarness) -> None:
        insert_citizen(portal, ANNA)

    def test_alert_is_inserted_with_masked_message(self, portal: TargetHarness) -> None:
        assert portal.send(alert(message="Call 9876545678")) == 1
        (row,) = portal.rows()
        direct = ("alert_type", "severity", "action_url", "created_at")
        assert [row[name] for name in direct] == [ALERT[name] for name in direct]
        assert row["alert_id"] == UUID(ALERT["alert_id"])
        assert row["message"] == "Call ***MASKED***"
        assert portal.dead() == []

    def test_changed_alert_is_not_written_again(self, portal: TargetHarness) -> None:
        portal.send(alert(), alert(severity="LOW"))
        assert portal.send(update(ALERT, message="Other").at(NOW, 5)) == 0
        assert [row["severity"] for row in portal.rows()] == ["HIGH"]

    def test_new_head_does_not_take_over_alert(self, portal: TargetHarness) -> None:
        portal.send(alert())
        insert_citizen(portal, HEAD, is_family_head=True)
        assert portal.send(alert()) == 0
        assert read_recipients(portal) == [ANNA]

    def test_deletion_from_outbox_keeps_alert(self, portal: TargetHarness) -> None:
        portal.send(alert())
        assert portal.send(delete(**ALERT).at(NOW, 5)) == 0
        assert read_recipients(portal) == [ANNA]
