"""What the oracle says about flow 4, on histories small enough to check by eye."""

import itertools
from decimal import Decimal

import pytest

from ...oracle.eligibility_hints import eligibility_hints
from ...oracle.history import moment
from ...oracle.story import Story, snapshots

NOW = moment("2026-03-20T00:00:00")
D = Decimal


def expected(story: Story, now=NOW):
    return eligibility_hints(story.changes, now)


def codes(story: Story):
    return {code for _, code in expected(story)}


def scored(*scores: str | None) -> Story:
    """One scheme for each score: S0, S1, ..."""
    story = snapshots()
    for place, score in enumerate(scores):
        value = None if score is None else D(score)
        story.insert(place, scheme_code=f"S{place}", eligibility_score=value)
    return story


def test_an_eligible_snapshot_makes_a_hint():
    story = snapshots().insert(1, eligibility_score=D("0.8349"), confidence_score=D("0.5"))
    assert expected(story) == {
        ("family", "NREGA"): {
            "family_id": "family",
            "scheme_code": "NREGA",
            "eligibility_status": "RULE_ELIGIBLE",
            "eligibility_score": D("0.83"),
            "confidence": D("0.50"),
            "explanation": "No explanation available",
            "updated_at": "2026-03-01T10:00:00",
        }
    }


@pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "UNCERTAIN", "ERROR"])
def test_any_other_status_makes_none(status):
    assert not expected(snapshots().insert(1, evaluation_status=status))


@pytest.mark.parametrize(
    ("score", "rounded"), [("0.125", "0.13"), ("0.135", "0.14"), ("0.1249", "0.12"), (None, "0.00")]
)
def test_scores_are_rounded_half_up(score, rounded):
    (hint,) = expected(scored(score)).values()
    assert hint["eligibility_score"] == D(rounded)


def test_an_explanation_ends_after_five_hundred_characters():
    (hint,) = expected(snapshots().insert(1, explanation="é" * 501)).values()
    assert hint["explanation"] == "é" * 500


def test_the_five_best_schemes_of_a_family_stay():
    assert codes(scored("0.1", "0.6", "0.5", "0.4", "0.3", "0.2")) == {"S1", "S2", "S3", "S4", "S5"}


def test_another_family_has_five_of_its_own():
    story = scored("0.6", "0.5", "0.4", "0.3", "0.2")
    story.insert(9, family_id="other", eligibility_score=D("0.1"))
    assert len(expected(story)) == 6


def test_the_order_of_arrival_does_not_matter():
    rows = [(1, "S1", "0.2"), (2, "S2", "0.3"), (3, "S1", "0.1")]
    found = []
    for order in itertools.permutations(rows):
        story = snapshots()
        for number, code, score in order:
            at = f"2026-03-01T10:00:0{number}"
            told = {"scheme_code": code, "eligibility_score": D(score)}
            story.insert(number, evaluation_timestamp=at, **told)
        found.append(expected(story))
    assert all(one == found[0] for one in found)


def test_the_unrounded_score_ranks():
    assert "S0" not in codes(scored("0.1201", "0.1202", "0.1203", "0.1204", "0.1205", "0.1206"))


def test_no_score_ranks_as_zero():
    assert codes(scored(None, "0.0001", "0.2", "0.3", "0.4", "0.5")) == {
        f"S{n}" for n in range(1, 6)
    }
    # Against a score of 0 the code decides.
    assert codes(scored(None, "0.0000", "0.2", "0.3", "0.4", "0.5")) == {
        "S0", "S2", "S3", "S4", "S5"
    }  # fmt: skip


def tied(**last):
    """Six schemes alike but for the last."""
    story = scored(*["0.5"] * 5)
    return story.insert(5, scheme_code="S5", **{"eligibility_score": D("0.5"), **last})


def test_confidence_time_and_code_break_ties():
    assert codes(tied()) == {f"S{n}" for n in range(5)}
    assert codes(tied(evaluation_timestamp="2026-03-01T10:00:00.000001")) == {
        "S0", "S1", "S2", "S3", "S5"
    }  # fmt: skip
    assert "S5" in codes(
        tied(confidence_score=D("0.1"), evaluation_timestamp="2026-02-28T00:00:00")
    )


def two_members() -> Story:
    story = snapshots()
    story.insert(1, member_id="best", eligibility_score=D("0.9"))
    at = "2026-02-28T00:00:00"
    return story.insert(2, eligibility_score=D("0.4"), evaluation_timestamp=at)


def test_the_best_member_speaks_for_a_scheme():
    (hint,) = expected(two_members()).values()
    assert hint["eligibility_score"] == D("0.90")


@pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "ERROR"])
def test_the_runner_up_returns_although_it_is_older(status):
    story = two_members().insert(
        3, member_id="best", evaluation_status=status, evaluation_timestamp="2026-03-02T00:00:00"
    )
    (hint,) = expected(story).values()
    assert (hint["eligibility_score"], hint["updated_at"]) == (D("0.40"), "2026-02-28T00:00:00")


def test_latest_snapshot_of_member_counts_whenever_it_arrives():
    story = two_members().insert(
        3, member_id="best", evaluation_status="ERROR", evaluation_timestamp="2026-02-20T00:00:00"
    )
    (hint,) = expected(story).values()
    assert hint["eligibility_score"] == D("0.90")


def test_higher_version_then_id_breaks_ties():
    story = snapshots().insert(3, eligibility_score=D("0.1"), evaluation_version=2)
    story.insert(4, eligibility_score=D("0.2"))
    (hint,) = expected(story).values()
    assert hint["eligibility_score"] == D("0.10")
    assert not expected(story.insert(5, evaluation_version=2, evaluation_status="ERROR"))


def test_a_deleted_snapshot_uncovers_the_one_before():
    story = two_members().insert(
        3, member_id="best", evaluation_status="ERROR", evaluation_timestamp="2026-03-02T00:00:00"
    )
    (hint,) = expected(story.delete(3)).values()
    assert hint["eligibility_score"] == D("0.90")
    assert not expected(story.delete(1).delete(2))


def test_a_snapshot_under_another_id_counts_once():
    assert len(expected(scored("0.5").update(0, snapshot_id=7))) == 1


def test_snapshot_update_needs_a_newer_evaluation():
    story = scored("0.5").update(0, evaluation_status="ERROR")
    assert expected(story)
    assert not expected(story.update(0, evaluation_timestamp="2026-03-01T10:00:01"))


def test_hints_age():
    story = scored("0.5")
    assert expected(story, moment("2026-03-31T10:00:00"))
    assert not expected(story, moment("2026-03-31T10:00:00.000001"))


def test_aged_snapshot_still_covers_ones_before_it():
    story = scored("0.5").insert(
        1, scheme_code="S0", evaluation_status="ERROR", evaluation_timestamp="2026-03-01T10:00:01"
    )
    assert not expected(story)


@pytest.mark.parametrize(
    "column",
    [
        {"eligibility_score": D("1.5")},
        {"confidence_score": D("-0.1")},
        {"evaluation_status": "SPLENDID"},
    ],
)
def test_version_that_breaks_rule_is_set_aside(column):
    assert not expected(snapshots().insert(1, **column))
    later = {"evaluation_timestamp": "2026-03-01T10:00:01", **column}
    (hint,) = expected(scored("0.5").update(0, **later)).values()
    assert hint["eligibility_score"] == D("0.50")
