"""Flow 4: a family's five best schemes, updated as evaluations arrive, change and expire."""

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
    """Return an evaluation: eligible, one day old, with a score of 0.5000."""
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


def evaluation(number: int, scheme: str = "NREGA", **changed: Any) -> Sample:
    return create(**snapshot(number, scheme, **changed))


def score(text: str) -> dict[str, Any]:
    return {"eligibility_score": Decimal(text)}


class TestContract(MappingContract):
    plugin = "eligibility-snapshots"
    policies = POLICIES
    samples = (
        evaluation(1),
        update(snapshot(1), evaluation_status="NOT_ELIGIBLE"),
        delete(**snapshot(1)),
    )
    broken = (
        (evaluation(1, **score("1.0001")), "maximum"),
        (evaluation(1, **score("-0.0001")), "minimum"),
        (evaluation(1, confidence_score=Decimal("NaN")), "minimum"),
        (evaluation(1, evaluation_status="ELIGIBLE"), "one_of"),
        (evaluation(1, family_id=None), "required"),
    )

    @pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "UNCERTAIN", "ERROR", "POSSIBLE_ELIGIBLE"])
    def test_every_status_of_evaluator_passes(self, sink: Harness, status: str) -> None:
        assert sink.send(evaluation(1, evaluation_status=status)).error is None

    def test_missing_values_get_defaults(self, sink: Harness) -> None:
        missing = {"eligibility_score": None, "confidence_score": None, "explanation": None}
        outcome = sink.send(evaluation(1, **missing))
        assert outcome.defaults == tuple(missing)
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


def read_schemes(portal: TargetHarness, order: str = "scheme_code") -> list[str]:
    return [row["scheme_code"] for row in portal.rows("scheme_code", order=order)]


@pytest.mark.postgres
class TestTopFive:
    def test_only_five_of_six_schemes_are_kept(self, portal: TargetHarness) -> None:
        portal.send(*[evaluation(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 7)])
        assert read_schemes(portal) == ["S2", "S3", "S4", "S5", "S6"]

    def test_sixth_scheme_replaces_one_that_is_removed(self, portal: TargetHarness) -> None:
        portal.send(*[evaluation(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 7)])
        portal.send(evaluation(7, "S6", evaluation_status="NOT_ELIGIBLE", evaluation_timestamp=NOW))
        assert read_schemes(portal) == ["S1", "S2", "S3", "S4", "S5"]

    def test_better_scheme_replaces_fifth(self, portal: TargetHarness) -> None:
        portal.send(*[evaluation(i, f"S{i}", **score(f"0.{i}000")) for i in range(1, 6)])
        portal.send(evaluation(9, "S9", **score("0.9999")))
        assert read_schemes(portal) == ["S2", "S3", "S4", "S5", "S9"]

    def test_families_are_ranked_separately(self, portal: TargetHarness) -> None:
        portal.send(*[evaluation(i, f"S{i}") for i in range(5)])
        portal.send(evaluation(9, "S9", family_id=OTHER, **score("0.0001")))
        assert len(read_schemes(portal)) == 6

    def test_equal_scores_rank_by_confidence_time_code(self, portal: TargetHarness) -> None:
        sure = {"confidence_score": Decimal("0.9500")}
        newer = {"evaluation_timestamp": NOW}
        ties = [evaluation(i, f"S{i}") for i in range(1, 6)]
        portal.send(*ties, evaluation(8, "S8", **sure), evaluation(9, "S9", **newer))
        assert read_schemes(portal) == ["S1", "S2", "S3", "S8", "S9"]

    def test_rank_uses_score_before_rounding(self, portal: TargetHarness) -> None:
        close = [evaluation(i, f"S{i}", **score(f"0.500{i}")) for i in range(1, 7)]
        portal.send(*close)
        assert "S1" not in read_schemes(portal)

    def test_missing_score_counts_as_zero(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1, eligibility_score=None, confidence_score=None, explanation=None))
        (row,) = portal.rows()
        assert row["eligibility_score"] == 0
        assert row["confidence"] == 0
        assert row["explanation"] == "No explanation available"


@pytest.mark.postgres
class TestMembers:
    def test_best_member_represents_family(self, portal: TargetHarness) -> None:
        portal.send(
            evaluation(1, member_id=ANNA, explanation="anna", **score("0.7000")),
            evaluation(2, member_id=BERT, explanation="bert", **score("0.8000")),
        )
        assert [row["explanation"] for row in portal.rows()] == ["bert"]

    @pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "UNCERTAIN", "ERROR"])
    def test_second_best_member_returns_with_older_time(
        self, portal: TargetHarness, status: str
    ) -> None:
        older = NOW - timedelta(days=5)
        portal.send(
            evaluation(1, member_id=ANNA, evaluation_timestamp=older, **score("0.7000")),
            evaluation(2, member_id=BERT, **score("0.8000")),
        )
        portal.send(
            evaluation(3, member_id=BERT, evaluation_status=status, evaluation_timestamp=NOW)
        )
        assert [row["updated_at"] for row in portal.rows()] == [older]

    def test_only_latest_evaluation_of_member_counts(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1, **score("0.9000")))
        portal.send(evaluation(2, evaluation_timestamp=NOW, **score("0.3000")))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.30")]

    def test_older_evaluation_that_arrives_late_is_ignored(self, portal: TargetHarness) -> None:
        portal.send(evaluation(2, evaluation_timestamp=NOW, **score("0.3000")))
        portal.send(evaluation(1, **score("0.9000")))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.30")]

    def test_higher_version_wins_at_equal_times(self, portal: TargetHarness) -> None:
        portal.send(
            evaluation(2, evaluation_version=1, **score("0.1000")),
            evaluation(1, evaluation_version=2, **score("0.2000")),
        )
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.20")]


@pytest.mark.postgres
class TestChanges:
    def test_previous_evaluation_returns_after_deletion(self, portal: TargetHarness) -> None:
        newest = snapshot(2, evaluation_timestamp=NOW, **score("0.3000"))
        portal.send(evaluation(1, **score("0.9000")), create(**newest))
        portal.send(delete(**newest).at(NOW, 5))
        assert [row["eligibility_score"] for row in portal.rows()] == [Decimal("0.90")]

    def test_hint_is_removed_with_last_evaluation(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1))
        portal.send(delete(**snapshot(1)).at(NOW, 5))
        assert portal.rows() == []

    def test_evaluation_moves_to_another_family(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1))
        portal.send(update(snapshot(1), family_id=OTHER).at(NOW, 5))
        assert [str(row["family_id"]) for row in portal.rows()] == [OTHER]

    def test_hint_is_removed_when_evaluation_expires(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1, "OLD"), evaluation(2, "NEW", evaluation_timestamp=NOW))
        portal.now = NOW + timedelta(days=29, hours=1)
        portal.committer.maintain(remember=timedelta(days=30))
        assert read_schemes(portal) == ["NEW"]

    def test_expired_evaluation_makes_no_hint(self, portal: TargetHarness) -> None:
        portal.send(evaluation(1, evaluation_timestamp=NOW - timedelta(days=30, seconds=1)))
        assert portal.rows() == []
        portal.send(evaluation(2, evaluation_timestamp=NOW - timedelta(days=30)))
        assert len(portal.rows()) == 1

    def test_equal_hint_writes_nothing(self, portal: TargetHarness) -> None:
        assert portal.send(evaluation(1)) == 1
        assert portal.send(evaluation(2, "NREGA", evaluation_status="RULE_ELIGIBLE")) == 0


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("exact", "rounded"), [("0.1250", "0.13"), ("0.1249", "0.12"), ("0.9950", "1.00")]
)
def test_scores_are_rounded_half_up(portal: TargetHarness, exact: str, rounded: str) -> None:
    portal.send(evaluation(1, **score(exact)))
    assert [row["eligibility_score"] for row in portal.rows()] == [Decimal(rounded)]


@pytest.mark.postgres
def test_explanation_is_cut_to_500_characters(portal: TargetHarness) -> None:
    portal.send(evaluation(1, explanation="अ" * 600))
    assert [len(row["explanation"]) for row in portal.rows()] == [500]


@pytest.mark.postgres
def test_order_of_arrival_does_not_matter(portal: TargetHarness, postgres) -> None:
    when: list[datetime] = [NOW - timedelta(hours=h) for h in range(8)]
    events = [
        evaluation(
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
    portal.send(evaluation(1, **score("1.0001")).at(NOW, 1), evaluation(2, "PMAY").at(NOW, 2))
    assert read_schemes(portal) == ["PMAY"]
    portal.send(create(**snapshot(1, **score("0.7000"))).at(NOW, 3))
    assert read_schemes(portal) == ["NREGA", "PMAY"]
    assert [dead_letter["status"] for dead_letter in portal.dead()] == ["SUPERSEDED"]
