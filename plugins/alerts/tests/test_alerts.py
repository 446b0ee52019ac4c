"""Flow 7: what the models have to tell reaches a citizen of the family."""

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


class TestText:
    @pytest.mark.parametrize(
        ("text", "shown"),
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
    def test_it_is_scrubbed_by_the_policies(
        self, sink: Harness, text: str, shown: str | None
    ) -> None:
        assert sink.send(alert(message=text)).row["message"] == (shown or text)


class TestQuality:
    @pytest.mark.parametrize("severity", ["LOW", "MEDIUM", "HIGH", "CRITICAL"])
    def test_a_known_severity_passes(self, sink: Harness, severity: str) -> None:
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
    def test_row_that_breaks_rule_is_refused_by_name(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(alert(**changed)).error)
        assert rule in error
        assert next(iter(changed)) in error
        assert "URGENT" not in error


def test_alert_that_is_gone_from_outbox_stays(sink: Harness) -> None:
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


def citizen(
    portal: TargetHarness,
    id_: str,
    verification: str = "VERIFIED",
    created: datetime = NOW,
    **identity: Any,
) -> None:
    """A citizen whom the identity map knows as `identity` says."""
    portal.admin.execute(
        "INSERT INTO citizens (id, full_name, mobile_number, verification_status, created_at) "
        "VALUES (%s, 'Ravi', '0123455678', %s, %s)",
        (id_, verification, created),
    )
    known = {"citizen_id": id_, "family_id": FAMILY, **identity}
    names, marks = ", ".join(known), ", ".join("%s" for _ in known)
    query = f"INSERT INTO citizen_identity_map ({names}) VALUES ({marks})"
    portal.admin.execute(query.encode(), list(known.values()))


def told(portal: TargetHarness) -> list[str]:
    """Who the alerts are for."""
    return [str(row["citizen_id"]) for row in portal.rows("citizen_id", order="alert_id")]


def waits(portal: TargetHarness, sample: Sample) -> bool:
    dead_letters = portal.batch(sample).dead_letters
    return len(dead_letters) == 1 and isinstance(dead_letters[0].error, WaitingError)


@pytest.mark.postgres
class TestWhoIsTold:
    def test_the_head_of_the_family(self, portal: TargetHarness) -> None:
        citizen(portal, ANNA, created=NOW - timedelta(days=9))
        citizen(portal, HEAD, is_family_head=True)
        portal.send(alert())
        assert told(portal) == [HEAD]

    def test_head_without_family_id_is_its_own_family(self, portal: TargetHarness) -> None:
        citizen(portal, ANNA)
        citizen(portal, HEAD, is_family_head=True, family_id=None, gr_id=FAMILY)
        portal.send(alert())
        assert told(portal) == [HEAD]

    def test_head_who_is_not_verified_is_head(self, portal: TargetHarness) -> None:
        citizen(portal, ANNA)
        citizen(portal, HEAD, "PENDING", is_family_head=True)
        portal.send(alert())
        assert told(portal) == [HEAD]

    def test_else_the_verified_member_who_came_first(self, portal: TargetHarness) -> None:
        citizen(portal, HEAD, "PENDING", NOW - timedelta(days=9))
        citizen(portal, ANNA, "VERIFIED", NOW - timedelta(days=1))
        citizen(portal, BERT, "verified", NOW - timedelta(days=2))
        portal.send(alert())
        assert told(portal) == [BERT]

    def test_of_two_who_came_together_always_the_same(self, portal: TargetHarness) -> None:
        for one in (BERT, ANNA):
            citizen(portal, one)
        portal.send(alert())
        assert told(portal) == [ANNA]

    def test_each_family_has_its_own(self, portal: TargetHarness) -> None:
        citizen(portal, ANNA)
        citizen(portal, BERT, family_id=OTHER)
        second = ALERT["alert_id"].replace("a1", "a2")
        portal.send(alert(), alert(alert_id=second, family_id=OTHER))
        assert told(portal) == [ANNA, BERT]

    @pytest.mark.parametrize("status", ["PENDING", "REJECTED", None])
    def test_for_nobody_it_waits(self, portal: TargetHarness, status: str | None) -> None:
        assert waits(portal, alert())
        citizen(portal, ANNA, status)
        assert waits(portal, alert())
        citizen(portal, BERT, family_id=OTHER)
        assert waits(portal, alert())


@pytest.mark.postgres
class TestOnce:
    @pytest.fixture(autouse=True)
    def family(self, portal: TargetHarness) -> None:
        citizen(portal, ANNA)

    def test_an_alert_arrives(self, portal: TargetHarness) -> None:
        assert portal.send(alert(message="Call 9876545678")) == 1
        (row,) = portal.rows()
        direct = ("alert_type", "severity", "action_url", "created_at")
        assert [row[name] for name in direct] == [ALERT[name] for name in direct]
        assert row["alert_id"] == UUID(ALERT["alert_id"])
        assert row["message"] == "Call ***MASKED***"
        assert portal.dead() == []

    def test_it_is_told_once(self, portal: TargetHarness) -> None:
        portal.send(alert(), alert(severity="LOW"))
        assert portal.send(update(ALERT, message="Other").at(NOW, 5)) == 0
        assert [row["severity"] for row in portal.rows()] == ["HIGH"]

    def test_a_new_head_does_not_take_it_over(self, portal: TargetHarness) -> None:
        portal.send(alert())
        citizen(portal, HEAD, is_family_head=True)
        assert portal.send(alert()) == 0
        assert told(portal) == [ANNA]

    def test_an_emptied_outbox_takes_nothing_away(self, portal: TargetHarness) -> None:
        portal.send(alert())
        assert portal.send(delete(**ALERT).at(NOW, 5)) == 0
        assert told(portal) == [ANNA]
