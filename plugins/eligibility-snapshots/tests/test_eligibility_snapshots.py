"""Flow 4: a family's five best schemes, kept right as evaluations come, change and age."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

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
ANNA, BERT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


def snapshot(number: int, scheme: str = "NREGA", **changed: Any) -> dict[str, Any]:
    """An evaluation: eligible, a day old, scored 0.5000."""
    return {
        "snapshot_id": number,
        "family_id": FAMILY,
        "member_id": None,
        "scheme_code": scheme,
        "evaluation_status": "RULE_ELIGIBLE",
        "eligibility_score": Decimal("0.5000"),
        "confidence_score": Decimal("0.9000"),
        "explanation": "because",
        "evaluation_timestamp": NOW - timedelta(days=1),
        "evaluation_version": 1,
        **changed,
    }


def evaluated(number: int, scheme: str = "NREGA", **changed: Any) -> Sample:
    return create(**snapshot(number, scheme, **changed))


def score(text: str) -> dict[str, Any]:
    return {"eligibility_score": Decimal(text)}


class TestContract(MappingContract):
    plugin = "eligibility-snapshots"
    policies = POLICIES
    samples = (
        evaluated(1),
        update(snapshot(1), evaluation_status="NOT_ELIGIBLE"),
        delete(**snapshot(1)),
    )
    broken = (
        (evaluated(1, **score("1.0001")), "maximum"),
        (evaluated(1, **score("-0.0001")), "minimum"),
        (evaluated(1, confidence_score=Decimal("NaN")), "minimum"),
        (evaluated(1, evaluation_status="ELIGIBLE"), "one_of"),
        (evaluated(1, family_id=None), "required"),
    )

    @pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "UNCERTAIN", "ERROR", "POSSIBLE_ELIGIBLE"])
    def test_every_status_of_the_evaluator_is_known(self, sink: Harness, status: str) -> None:
        assert sink.send(evaluated(1, evaluation_status=status)).error is None

    def test_what_is_missing_is_given_the_listed_default(self, sink: Harness) -> None:
        nothing = {"eligibility_score": None, "confidence_score": None, "explanation": None}
        outcome = sink.send(evaluated(1, **nothing))
        assert outcome.defaults == tuple(nothing)
        assert outcome.row["explanation"] == "No explanation available"


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "eligibility-snapshots",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    yield harness
    harness.close()


def schemes(portal: TargetHarness, order: str = "scheme_code") -> list[str]:
    return [row["scheme_code"] for row in portal.rows("scheme_code", order=order)]


@pytest.mark.postgres
class TestTopFive:
    def test_six_schemes_leave_five(self, portal: TargetHarness) -> None:
        portal.send(*[evaluated(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 7)])
        assert schemes(portal) == ["S2", "S3", "S4", "S5", "S6"]

    def test_sixth_moves_up_when_scheme_falls_out(self, portal: TargetHarness) -> None:
        portal.send(*[evaluated(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 7)])
        portal.send(evaluated(7, "S6", evaluation_status="NOT_ELIGIBLE", evaluation_timestamp=NOW))
        assert schemes(portal) == ["S1", "S2", "S3", "S4", "S5"]

    def test_a_better_scheme_pushes_the_fifth_out(self, portal: TargetHarness) -> None:
        portal.send(*[evaluated(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 6)])
        portal.send(evaluated(9, "S9", **score("0.9999")))
        assert schemes(portal) == ["S2", "S3", "S4", "S5", "S9"]

    def test_families_do_not_compete(self, portal: TargetHarness) -> None:
        portal.send(*[evaluated(i, f"S{i}") for i in range(5)])
        portal.send(evaluated(9, "S9", family_id=OTHER, **score("0.0001")))
        assert len(schemes(portal)) == 6

    def test_ties_go_by_confidence_then_newest_then_code(self, portal: TargetHarness) -> None:
        sure = {"confidence_score": Decimal("0.9500")}
        newer = {"evaluation_timestamp": NOW}
        ties = [evaluated(i, f"S{i}") for i in range(1, 6)]
        portal.send(*ties, evaluated(8, "S8", **sure), evaluated(9, "S9", **newer))
        assert schemes(portal) == ["S1", "S2", "S3", "S8", "S9"]

    def test_the_rank_goes_by_the_score_before_rounding(self, portal: TargetHarness) -> None:
        close = [evaluated(i, f"S{i}", **score(f"0.500{i}")) for i in range(1, 7)]
        portal.send(*close)
        assert "S1" not in schemes(portal)

    def test_no_score_counts_as_zero(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1, eligibility_score=None, confidence_score=None, explanation=None))
        (row,) = portal.rows()
        assert row["eligibility_score"] == 0
        assert row["confidence"] == 0
        assert row["explanation"] == "No explanation available"


@pytest.mark.postgres
class TestMembers:
    def test_the_best_member_speaks_for_the_family(self, portal: TargetHarness) -> None:
        portal.send(
            evaluated(1, member_id=ANNA, explanation="anna", **score("0.7000")),
            evaluated(2, member_id=BERT, explanation="bert", **score("0.8000")),
        )
        assert [row["explanation"] for row in portal.rows()] == ["bert"]

    @pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "UNCERTAIN", "ERROR"])
    def test_the_runner_up_returns_with_its_older_time(
        self, portal: TargetHarness, status: str
    ) -> None:
        older = NOW - timedelta(days=5)
        portal.send(
            evaluated(1, member_id=ANNA, evaluation_timestamp=older, **score("0.7000")),
            evaluated(2, member_id=BERT, **score("0.8000")),
        )
        portal.send(
            evaluated(3, member_id=BERT, evaluation_status=status, evaluation_timestamp=NOW)
        )
        assert [row["updated_at"] for row in portal.rows()] == [older]

    def test_only_the_latest_evaluation_of_a_member_counts(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1, **score("0.9000")))
        portal.send(evaluated(2, evaluation_timestamp=NOW, **score("0.3000")))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.30")]

    def test_an_evaluation_that_arrives_late_does_not_count(self, portal: TargetHarness) -> None:
        portal.send(evaluated(2, evaluation_timestamp=NOW, **score("0.3000")))
        portal.send(evaluated(1, **score("0.9000")))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.30")]

    def test_of_two_at_one_time_higher_version_counts(self, portal: TargetHarness) -> None:
        portal.send(
            evaluated(2, evaluation_version=1, **score("0.1000")),
            evaluated(1, evaluation_version=2, **score("0.2000")),
        )
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.20")]


@pytest.mark.postgres
class TestChanges:
    def test_deleted_evaluation_gives_way_to_one_before(self, portal: TargetHarness) -> None:
        newest = snapshot(2, evaluation_timestamp=NOW, **score("0.3000"))
        portal.send(evaluated(1, **score("0.9000")), create(**newest))
        portal.send(delete(**newest).at(NOW, 5))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.90")]

    def test_the_last_evaluation_takes_the_hint_with_it(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1))
        portal.send(delete(**snapshot(1)).at(NOW, 5))
        assert portal.rows() == []

    def test_an_evaluation_moves_to_another_family(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1))
        portal.send(update(snapshot(1), family_id=OTHER).at(NOW, 5))
        assert [str(row["family_id"]) for row in portal.rows()] == [OTHER]

    def test_hint_goes_when_its_evaluation_is_too_old(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1, "OLD"), evaluated(2, "NEW", evaluation_timestamp=NOW))
        portal.now = NOW + timedelta(days=29, hours=1)
        portal.applier.maintain(remember=timedelta(days=30))
        assert schemes(portal) == ["NEW"]

    def test_old_evaluation_is_no_hint_to_begin_with(self, portal: TargetHarness) -> None:
        portal.send(evaluated(1, evaluation_timestamp=NOW - timedelta(days=30, seconds=1)))
        assert portal.rows() == []
        portal.send(evaluated(2, evaluation_timestamp=NOW - timedelta(days=30)))
        assert len(portal.rows()) == 1

    def test_what_changes_nothing_writes_nothing(self, portal: TargetHarness) -> None:
        assert portal.send(evaluated(1)) == 1
        assert portal.send(evaluated(2, "NREGA", evaluation_status="RULE_ELIGIBLE")) == 0


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("exact", "rounded"), [("0.1250", "0.13"), ("0.1249", "0.12"), ("0.9950", "1.00")]
)
def test_scores_are_rounded_half_up(portal: TargetHarness, exact: str, rounded: str) -> None:
    portal.send(evaluated(1, **score(exact)))
    assert [row["eligibility_score"] for row in portal.rows()] == [Decimal(rounded)]


@pytest.mark.postgres
def test_an_explanation_is_cut_to_500_characters(portal: TargetHarness) -> None:
    portal.send(evaluated(1, explanation="अ" * 600))
    assert [len(row["explanation"]) for row in portal.rows()] == [500]


@pytest.mark.postgres
def test_order_of_arrival_does_not_matter(portal: TargetHarness, postgres) -> None:
    when: list[datetime] = [NOW - timedelta(hours=h) for h in range(8)]
    events = [
        evaluated(
            i,
            f"S{i % 7}",
            member_id=(None, ANNA, BERT)[i % 3],
            evaluation_status=("RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE", "NOT_ELIGIBLE")[i % 5 % 3],
            evaluation_timestamp=when[i * 3 % 8],
            **score(f"0.{i * 37 % 100:02d}00"),
        )
        for i in range(40)
    ]
    portal.send(*events)
    expected = portal.rows(order="family_id, scheme_code")
    name = postgres.fresh_database(like="smart_citizen")
    other = TargetHarness(
        "eligibility-snapshots",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    try:
        for event in reversed(events):
            other.send(event)
        assert other.rows(order="family_id, scheme_code") == expected
    finally:
        other.close()


def test_correction_supersedes_broken_evaluation(portal: TargetHarness) -> None:
    portal.send(evaluated(1, **score("1.0001")).at(NOW, 1), evaluated(2, "PMAY").at(NOW, 2))
    assert schemes(portal) == ["PMAY"]
    portal.send(create(**snapshot(1, **score("0.7000"))).at(NOW, 3))
    assert schemes(portal) == ["NREGA", "PMAY"]
    assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]
