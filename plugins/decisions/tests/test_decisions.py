"""Flow 6: decisions on applications, which the portal finds by id or by number."""

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sink_runner.errors import WaitingError
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
FIRST = "00000000-0000-4000-8000-000000000001"
SECOND = "00000000-0000-4000-8000-000000000002"
UNKNOWN = "00000000-0000-4000-8000-0000000000ff"
NUMBER = "APP-20260101-000001"
LATER, EARLIER = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
REASONS = '["Income proof is missing.", {"code": "R7", "weight": 0.10}]'
APPROVED = {
    "application_id": FIRST,
    "application_number": NUMBER,
    "decision": "AUTO_APPROVED",
    "risk_score": Decimal("0.1250"),
    "confidence": Decimal("0.9000"),
    "reasons": REASONS,
    "decision_timestamp": NOW,
}
FOUND = {"application_id": {(FIRST, NUMBER): FIRST, (FIRST, None): FIRST}}
DECISIONS = (
    *("AUTO_APPROVE", "AUTO_APPROVED", "AUTO_REJECT", "AUTO_REJECTED"),
    *("ROUTE_TO_OFFICER", "ROUTE_TO_FRAUD", "OFFICER_APPROVED", "OFFICER_REJECTED"),
)


def decision(**changed: Any) -> Sample:
    return create(**APPROVED | changed)


class TestContract(MappingContract):
    plugin = "decisions"
    policies = POLICIES
    samples = (
        decision(),
        decision(application_number=None, risk_score=None, confidence=None, reasons="[]"),
        update(APPROVED, decision="OFFICER_APPROVED", decision_timestamp=LATER),
        delete(**APPROVED),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("decisions", policies=POLICIES, found=FOUND)


@pytest.fixture
def sink() -> Harness:
    return Harness("decisions", policies=POLICIES, found=FOUND)


class TestStatuses:
    @pytest.mark.parametrize("status", DECISIONS)
    def test_status_is_unchanged_by_default(self, sink: Harness, status: str) -> None:
        assert sink.send(decision(decision=status)).row["decision_status"] == status

    def test_configuration_replaces_statuses(self) -> None:
        changed = {"AUTO_APPROVE": "AUTO_APPROVED", "ROUTE_TO_FRAUD": "In review"}
        sink = Harness("decisions", policies=POLICIES, config={"statuses": changed}, found=FOUND)
        rows = {status: sink.send(decision(decision=status)).row for status in DECISIONS}
        found = {status: row["decision_status"] for status, row in rows.items()}
        assert found == {status: changed.get(status, status) for status in DECISIONS}


class TestQuality:
    @pytest.mark.parametrize(
        ("changed", "rule"),
        [
            ({"decision": "AUTO_MAYBE"}, "decision is known"),
            ({"decision": "auto_approved"}, "decision is known"),
            ({"decision": None}, "required"),
            ({"risk_score": Decimal("1.0001")}, "maximum"),
            ({"risk_score": Decimal("-0.0001")}, "minimum"),
            ({"confidence": Decimal("1.0001")}, "maximum"),
            ({"confidence": Decimal("-0.0001")}, "minimum"),
            ({"decision_timestamp": None}, "required"),
            ({"reasons": None}, "required"),
            ({"reasons": '{"why": "MAYBE"}'}, "reasons is an array"),
            ({"reasons": '"MAYBE"'}, "reasons is an array"),
            ({"reasons": "null"}, "reasons is an array"),
        ],
    )
    def test_error_names_rule_and_not_value(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(decision(**changed)).error)
        assert rule in error
        assert "MAYBE" not in error

    @pytest.mark.parametrize("score", [Decimal("0.0000"), Decimal("1.0000"), None])
    def test_scores_at_limits_and_null_pass(self, sink: Harness, score: Decimal | None) -> None:
        assert sink.send(decision(risk_score=score, confidence=score)).error is None


def test_decision_on_unknown_application_is_deferred(sink: Harness) -> None:
    outcome = sink.send(decision(application_id=UNKNOWN))
    assert isinstance(outcome.error, WaitingError)
    assert outcome.rows == []


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "decisions",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={"smart_citizen": postgres.dsn(name, role="sink_reader")},
    )
    harness.admin.execute("INSERT INTO citizens (full_name, mobile_number) VALUES ('R', '1')")
    insert_application(harness, FIRST, NUMBER)
    insert_application(harness, SECOND, "APP-20260101-000002")
    yield harness
    harness.close()


def insert_application(portal: TargetHarness, application: str, number: str) -> None:
    portal.admin.execute(
        "INSERT INTO service_applications (id, application_number, citizen_id, service_type) "
        "SELECT %s, %s, id, 'SCHEME' FROM citizens",
        (application, number),
    )


def read_statuses(portal: TargetHarness) -> dict[str, str]:
    rows = portal.rows("application_id", "decision_status")
    return {str(row["application_id"]): row["decision_status"] for row in rows}


@pytest.mark.postgres
class TestMatching:
    def test_decision_is_written_to_its_application(self, portal: TargetHarness) -> None:
        assert portal.send(decision()) == 1
        (row,) = portal.rows()
        assert row["application_id"] == UUID(FIRST)
        assert row["decision_status"] == "AUTO_APPROVED"
        assert (row["risk_score"], row["confidence"]) == (Decimal("0.1250"), Decimal("0.9000"))
        assert row["decision_date"] == NOW
        assert row["decision_reasons"] == json.loads(REASONS)
        assert portal.dead() == []

    def test_number_finds_application_of_unknown_id(self, portal: TargetHarness) -> None:
        portal.send(decision(application_id=UNKNOWN))
        assert list(read_statuses(portal)) == [FIRST]

    def test_id_takes_precedence_over_number(self, portal: TargetHarness) -> None:
        portal.send(decision(application_id=SECOND))
        assert list(read_statuses(portal)) == [SECOND]

    def test_id_finds_application_without_number(self, portal: TargetHarness) -> None:
        portal.send(decision(application_number=None), decision(application_number="APP-0"))
        assert list(read_statuses(portal)) == [FIRST]

    @pytest.mark.parametrize("number", [None, "APP-20260101-999999", NUMBER.lower()])
    def test_decision_without_known_application_is_deferred(
        self, portal: TargetHarness, number: str | None
    ) -> None:
        batch = portal.batch(decision(application_id=UNKNOWN, application_number=number))
        (dead_letter,) = batch.dead_letters
        assert isinstance(dead_letter.error, WaitingError)

    def test_corrected_number_moves_decision(self, portal: TargetHarness) -> None:
        unmatched = APPROVED | {"application_id": UNKNOWN}
        portal.send(create(**unmatched))
        portal.send(update(unmatched, application_number="APP-20260101-000002").at(NOW, 5))
        assert list(read_statuses(portal)) == [SECOND]

    def test_deferred_decision_does_not_block_others(self, portal: TargetHarness) -> None:
        unmatched = decision(application_id=UNKNOWN, application_number=None)
        batch = portal.batch(unmatched, decision())
        assert (len(batch.dead_letters), len(batch.changes)) == (1, 1)


@pytest.mark.postgres
class TestNewest:
    @pytest.mark.parametrize("together", [True, False])
    def test_older_decision_changes_nothing(self, portal: TargetHarness, *, together: bool) -> None:
        older = update(APPROVED, decision="ROUTE_TO_OFFICER", decision_timestamp=EARLIER)
        for batch in (
            [[decision(), older.at(NOW, 2)]] if together else [[decision()], [older.at(NOW, 2)]]
        ):
            portal.send(*batch)
        assert read_statuses(portal) == {FIRST: "AUTO_APPROVED"}

    def test_newer_decision_replaces_older_one(self, portal: TargetHarness) -> None:
        portal.send(decision(decision="ROUTE_TO_OFFICER"))
        newer = {"decision": "OFFICER_APPROVED", "decision_timestamp": LATER, "reasons": "[]"}
        assert portal.send(decision(**newer).at(NOW, 2)) == 1
        (row,) = portal.rows()
        assert (row["decision_status"], row["decision_reasons"]) == ("OFFICER_APPROVED", [])

    def test_later_position_wins_at_equal_times(self, portal: TargetHarness) -> None:
        portal.send(decision(), decision(decision="AUTO_REJECTED").at(NOW, 2))
        portal.send(decision(decision="ROUTE_TO_FRAUD").at(NOW, 3))
        assert read_statuses(portal) == {FIRST: "ROUTE_TO_FRAUD"}

    def test_change_of_unmapped_columns_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(decision())
        before = portal.rows("xmin::text")
        assert portal.send(update(APPROVED, application_number=None).at(NOW, 2)) == 0
        assert portal.send(update(APPROVED, reasons=REASONS.replace(", ", ",")).at(NOW, 3)) == 0
        assert portal.rows("xmin::text") == before


@pytest.mark.postgres
class TestTwoDecisions:
    BY_NUMBER = APPROVED | {"application_id": UNKNOWN, "decision": "AUTO_REJECTED"}

    @pytest.mark.parametrize(("time", "expected"), [(LATER, "AUTO_REJECTED"), (EARLIER, None)])
    def test_newer_decision_wins_in_any_order(
        self, portal: TargetHarness, time: Any, expected: str | None
    ) -> None:
        events = [decision(), create(**self.BY_NUMBER | {"decision_timestamp": time})]
        for order in itertools.permutations(events):
            portal.send(*order)
            assert read_statuses(portal) == {FIRST: expected or "AUTO_APPROVED"}

    def test_later_in_log_wins_at_equal_times(self, portal: TargetHarness) -> None:
        events = [decision().at(NOW, 3), create(**self.BY_NUMBER).at(NOW, 4)]
        for order in itertools.permutations(events):
            portal.send(*order)
            assert read_statuses(portal) == {FIRST: "AUTO_REJECTED"}

    def test_older_decision_returns_after_deletion_of_newer(self, portal: TargetHarness) -> None:
        newer = self.BY_NUMBER | {"decision_timestamp": LATER}
        portal.send(decision(), create(**newer))
        portal.send(delete(**newer).at(NOW, 5))
        assert read_statuses(portal) == {FIRST: "AUTO_APPROVED"}


@pytest.mark.postgres
class TestDeletion:
    def test_deleted_decision_is_removed(self, portal: TargetHarness) -> None:
        portal.send(decision())
        portal.send(delete(**APPROVED).at(NOW, 5))
        assert portal.rows() == []
        assert portal.send(decision().at(NOW, 3)) == 0

    def test_decisions_do_not_return_to_deleted_application(self, portal: TargetHarness) -> None:
        by_number = APPROVED | {"application_id": UNKNOWN, "decision_timestamp": LATER}
        portal.send(decision(), create(**by_number))
        portal.admin.execute("DELETE FROM service_applications WHERE id = %s", (FIRST,))
        portal.send(delete(**by_number).at(NOW, 5))
        assert portal.rows() == []
        assert portal.dead() == []


@pytest.mark.postgres
class TestCorrection:
    """A decision that broke a rule and is corrected in the warehouse a moment later."""

    def test_correction_supersedes_broken_decision(self, portal: TargetHarness) -> None:
        portal.send(decision(decision="AUTO_MAYBE").at(NOW, 1))
        assert portal.send(update(APPROVED, decision="AUTO_REJECTED").at(NOW, 2)) == 1
        assert [row["decision_status"] for row in portal.rows()] == ["AUTO_REJECTED"]
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]

    def test_deletion_supersedes_broken_decision(self, portal: TargetHarness) -> None:
        portal.send(decision().at(NOW, 1))
        portal.send(update(APPROVED, decision="AUTO_MAYBE").at(NOW, 2))
        portal.send(delete(**APPROVED).at(NOW, 3))
        assert portal.rows() == []
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]

    def test_correction_of_deferred_decision_is_applied(self, portal: TargetHarness) -> None:
        portal.send(decision(application_id=UNKNOWN, application_number="none").at(NOW, 1))
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["PARKED"]
        named = APPROVED | {"application_id": UNKNOWN}
        portal.send(update(named, decision="AUTO_REJECTED").at(NOW, 2))
        assert [row["decision_status"] for row in portal.rows()] == ["AUTO_REJECTED"]
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]
