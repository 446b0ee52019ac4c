"""Flow 6: what was decided on an application that the portal knows by id or by number."""

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
STRANGE = "00000000-0000-4000-8000-0000000000ff"
"""An id that the portal does not know."""
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
WORDS = (
    *("AUTO_APPROVE", "AUTO_APPROVED", "AUTO_REJECT", "AUTO_REJECTED"),
    *("ROUTE_TO_OFFICER", "ROUTE_TO_FRAUD", "OFFICER_APPROVED", "OFFICER_REJECTED"),
)


def decided(**changed: Any) -> Sample:
    return create(**APPROVED | changed)


class TestContract(MappingContract):
    plugin = "decisions"
    policies = POLICIES
    samples = (
        decided(),
        decided(application_number=None, risk_score=None, confidence=None, reasons="[]"),
        update(APPROVED, decision="OFFICER_APPROVED", decision_timestamp=LATER),
        delete(**APPROVED),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("decisions", policies=POLICIES, found=FOUND)


@pytest.fixture
def sink() -> Harness:
    return Harness("decisions", policies=POLICIES, found=FOUND)


class TestWords:
    @pytest.mark.parametrize("word", WORDS)
    def test_a_decision_keeps_its_word(self, sink: Harness, word: str) -> None:
        assert sink.send(decided(decision=word)).row["decision_status"] == word

    def test_the_configuration_may_have_another(self) -> None:
        statuses = {"statuses": {"AUTO_APPROVE": "AUTO_APPROVED", "ROUTE_TO_FRAUD": "In review"}}
        sink = Harness("decisions", policies=POLICIES, config=statuses, found=FOUND)
        rows = [sink.send(decided(decision=word)).row for word in WORDS]
        said = dict(zip(WORDS, (row["decision_status"] for row in rows), strict=True))
        changed = {"AUTO_APPROVE": "AUTO_APPROVED", "ROUTE_TO_FRAUD": "In review"}
        assert said == dict(zip(WORDS, WORDS, strict=True)) | changed


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
    def test_row_that_breaks_rule_is_refused_by_name(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(decided(**changed)).error)
        assert rule in error
        assert "MAYBE" not in error

    @pytest.mark.parametrize("score", [Decimal("0.0000"), Decimal("1.0000"), None])
    def test_ends_of_scale_and_no_score_pass(self, sink: Harness, score: Decimal | None) -> None:
        assert sink.send(decided(risk_score=score, confidence=score)).error is None


def test_a_decision_without_its_application_waits(sink: Harness) -> None:
    outcome = sink.send(decided(application_id=STRANGE))
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
    applied(harness, FIRST, NUMBER)
    applied(harness, SECOND, "APP-20260101-000002")
    yield harness
    harness.close()


def applied(portal: TargetHarness, application: str, number: str) -> None:
    """The portal has the application."""
    portal.admin.execute(
        "INSERT INTO service_applications (id, application_number, citizen_id, service_type) "
        "SELECT %s, %s, id, 'SCHEME' FROM citizens",
        (application, number),
    )


def statuses(portal: TargetHarness) -> dict[str, str]:
    rows = portal.rows("application_id", "decision_status")
    return {str(row["application_id"]): row["decision_status"] for row in rows}


@pytest.mark.postgres
class TestMatching:
    def test_a_decision_arrives_at_its_application(self, portal: TargetHarness) -> None:
        assert portal.send(decided()) == 1
        (row,) = portal.rows()
        assert row["application_id"] == UUID(FIRST)
        assert row["decision_status"] == "AUTO_APPROVED"
        assert (row["risk_score"], row["confidence"]) == (Decimal("0.1250"), Decimal("0.9000"))
        assert row["decision_date"] == NOW
        assert row["decision_reasons"] == json.loads(REASONS)
        assert portal.dead() == []

    def test_the_number_speaks_where_the_id_is_strange(self, portal: TargetHarness) -> None:
        portal.send(decided(application_id=STRANGE))
        assert list(statuses(portal)) == [FIRST]

    def test_the_id_speaks_first(self, portal: TargetHarness) -> None:
        portal.send(decided(application_id=SECOND))
        assert list(statuses(portal)) == [SECOND]

    def test_the_id_needs_no_number(self, portal: TargetHarness) -> None:
        portal.send(decided(application_number=None), decided(application_number="APP-0"))
        assert list(statuses(portal)) == [FIRST]

    @pytest.mark.parametrize("number", [None, "APP-20260101-999999", NUMBER.lower()])
    def test_without_either_it_waits(self, portal: TargetHarness, number: str | None) -> None:
        batch = portal.batch(decided(application_id=STRANGE, application_number=number))
        (dead_letter,) = batch.dead_letters
        assert isinstance(dead_letter.error, WaitingError)

    def test_a_corrected_number_takes_the_decision_along(self, portal: TargetHarness) -> None:
        strange = APPROVED | {"application_id": STRANGE}
        portal.send(create(**strange))
        portal.send(update(strange, application_number="APP-20260101-000002").at(NOW, 5))
        assert list(statuses(portal)) == [SECOND]

    def test_one_strange_decision_does_not_hold_up_others(self, portal: TargetHarness) -> None:
        strange = decided(application_id=STRANGE, application_number=None)
        batch = portal.batch(strange, decided())
        assert (len(batch.dead_letters), len(batch.changes)) == (1, 1)


@pytest.mark.postgres
class TestNewest:
    @pytest.mark.parametrize("together", [True, False])
    def test_an_older_decision_changes_nothing(
        self, portal: TargetHarness, *, together: bool
    ) -> None:
        older = update(APPROVED, decision="ROUTE_TO_OFFICER", decision_timestamp=EARLIER)
        for batch in (
            [[decided(), older.at(NOW, 2)]] if together else [[decided()], [older.at(NOW, 2)]]
        ):
            portal.send(*batch)
        assert statuses(portal) == {FIRST: "AUTO_APPROVED"}

    def test_a_newer_one_takes_its_place(self, portal: TargetHarness) -> None:
        portal.send(decided(decision="ROUTE_TO_OFFICER"))
        newer = {"decision": "OFFICER_APPROVED", "decision_timestamp": LATER, "reasons": "[]"}
        assert portal.send(decided(**newer).at(NOW, 2)) == 1
        (row,) = portal.rows()
        assert (row["decision_status"], row["decision_reasons"]) == ("OFFICER_APPROVED", [])

    def test_later_position_wins_at_equal_times(self, portal: TargetHarness) -> None:
        portal.send(decided(), decided(decision="AUTO_REJECTED").at(NOW, 2))
        portal.send(decided(decision="ROUTE_TO_FRAUD").at(NOW, 3))
        assert statuses(portal) == {FIRST: "ROUTE_TO_FRAUD"}

    def test_what_changes_nothing_mapped_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(decided())
        before = portal.rows("xmin::text")
        assert portal.send(update(APPROVED, application_number=None).at(NOW, 2)) == 0
        assert portal.send(update(APPROVED, reasons=REASONS.replace(", ", ",")).at(NOW, 3)) == 0
        assert portal.rows("xmin::text") == before


@pytest.mark.postgres
class TestTwoOfOneApplication:
    BY_NUMBER = APPROVED | {"application_id": STRANGE, "decision": "AUTO_REJECTED"}

    @pytest.mark.parametrize(("when", "stands"), [(LATER, "AUTO_REJECTED"), (EARLIER, None)])
    def test_the_newer_stands_whichever_comes_first(
        self, portal: TargetHarness, when: Any, stands: str | None
    ) -> None:
        events = [decided(), create(**self.BY_NUMBER | {"decision_timestamp": when})]
        for order in itertools.permutations(events):
            portal.send(*order)
            assert statuses(portal) == {FIRST: stands or "AUTO_APPROVED"}

    def test_at_one_time_later_in_log_stands(self, portal: TargetHarness) -> None:
        events = [decided().at(NOW, 3), create(**self.BY_NUMBER).at(NOW, 4)]
        for order in itertools.permutations(events):
            portal.send(*order)
            assert statuses(portal) == {FIRST: "AUTO_REJECTED"}

    def test_the_other_returns_when_one_is_deleted(self, portal: TargetHarness) -> None:
        newer = self.BY_NUMBER | {"decision_timestamp": LATER}
        portal.send(decided(), create(**newer))
        portal.send(delete(**newer).at(NOW, 5))
        assert statuses(portal) == {FIRST: "AUTO_APPROVED"}


@pytest.mark.postgres
class TestDepartures:
    def test_a_deleted_decision_leaves(self, portal: TargetHarness) -> None:
        portal.send(decided())
        portal.send(delete(**APPROVED).at(NOW, 5))
        assert portal.rows() == []
        assert portal.send(decided().at(NOW, 3)) == 0

    def test_with_its_application_it_is_gone_for_good(self, portal: TargetHarness) -> None:
        by_number = APPROVED | {"application_id": STRANGE, "decision_timestamp": LATER}
        portal.send(decided(), create(**by_number))
        portal.admin.execute("DELETE FROM service_applications WHERE id = %s", (FIRST,))
        portal.send(delete(**by_number).at(NOW, 5))
        assert portal.rows() == []
        assert portal.dead() == []


@pytest.mark.postgres
class TestCorrection:
    """A decision that broke a rule and is corrected in the warehouse a moment later."""

    def test_correction_supersedes_broken_decision(self, portal: TargetHarness) -> None:
        portal.send(decided(decision="AUTO_MAYBE").at(NOW, 1))
        assert portal.send(update(APPROVED, decision="AUTO_REJECTED").at(NOW, 2)) == 1
        assert [row["decision_status"] for row in portal.rows()] == ["AUTO_REJECTED"]
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]

    def test_deletion_supersedes_broken_decision(self, portal: TargetHarness) -> None:
        portal.send(decided().at(NOW, 1))
        portal.send(update(APPROVED, decision="AUTO_MAYBE").at(NOW, 2))
        portal.send(delete(**APPROVED).at(NOW, 3))
        assert portal.rows() == []
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]

    def test_correction_of_waiting_decision_is_applied(self, portal: TargetHarness) -> None:
        portal.send(decided(application_id=STRANGE, application_number="none").at(NOW, 1))
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["PARKED"]
        named = APPROVED | {"application_id": STRANGE}
        portal.send(update(named, decision="AUTO_REJECTED").at(NOW, 2))
        assert [row["decision_status"] for row in portal.rows()] == ["AUTO_REJECTED"]
        assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]
