"""Expected rows of flow 4, for histories small enough to check by hand."""

import itertools
from decimal import Decimal

import pytest

from ...oracle.eligibility_hints import compute_hints
from ...oracle.history import parse_time
from ...oracle.history_builder import HistoryBuilder, snapshot_history

NOW = parse_time("2026-03-20T00:00:00")
D = Decimal


def expected(history: HistoryBuilder, now=NOW):
    return compute_hints(history.changes, now)


def scheme_codes(history: HistoryBuilder):
    return {code for _, code in expected(history)}


def snapshots_with_scores(*scores: str | None) -> HistoryBuilder:
    """Return snapshots of the schemes S0, S1, ..., one for each score."""
    history = snapshot_history()
    for number, score in enumerate(scores):
        value = None if score is None else D(score)
        history.insert(number, scheme_code=f"S{number}", eligibility_score=value)
    return history


def test_eligible_snapshot_makes_hint():
    history = snapshot_history().insert(1, eligibility_score=D("0.8349"), confidence_score=D("0.5"))
    assert expected(history) == {
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
def test_other_statuses_make_no_hint(status):
    assert not expected(snapshot_history().insert(1, evaluation_status=status))


@pytest.mark.parametrize(
    ("score", "rounded"), [("0.125", "0.13"), ("0.135", "0.14"), ("0.1249", "0.12"), (None, "0.00")]
)
def test_scores_are_rounded_half_up(score, rounded):
    (hint,) = expected(snapshots_with_scores(score)).values()
    assert hint["eligibility_score"] == D(rounded)


def test_explanation_is_cut_at_500_characters():
    (hint,) = expected(snapshot_history().insert(1, explanation="é" * 501)).values()
    assert hint["explanation"] == "é" * 500


def test_family_keeps_its_five_best_schemes():
    assert scheme_codes(snapshots_with_scores("0.1", "0.6", "0.5", "0.4", "0.3", "0.2")) == {
        "S1",
        "S2",
        "S3",
        "S4",
        "S5",
    }


def test_limit_of_schemes_applies_per_family():
    history = snapshots_with_scores("0.6", "0.5", "0.4", "0.3", "0.2")
    history.insert(9, family_id="other", eligibility_score=D("0.1"))
    assert len(expected(history)) == 6


def test_order_of_arrival_does_not_matter():
    rows = [(1, "S1", "0.2"), (2, "S2", "0.3"), (3, "S1", "0.1")]
    found = []
    for order in itertools.permutations(rows):
        history = snapshot_history()
        for number, code, score in order:
            at = f"2026-03-01T10:00:0{number}"
            columns = {"scheme_code": code, "eligibility_score": D(score)}
            history.insert(number, evaluation_timestamp=at, **columns)
        found.append(expected(history))
    assert all(one == found[0] for one in found)


def test_schemes_are_ranked_by_unrounded_score():
    assert "S0" not in scheme_codes(
        snapshots_with_scores("0.1201", "0.1202", "0.1203", "0.1204", "0.1205", "0.1206")
    )


def test_null_score_ranks_as_zero():
    assert scheme_codes(snapshots_with_scores(None, "0.0001", "0.2", "0.3", "0.4", "0.5")) == {
        f"S{n}" for n in range(1, 6)
    }
    # NULL and 0 are equal, so the scheme code decides.
    assert scheme_codes(snapshots_with_scores(None, "0.0000", "0.2", "0.3", "0.4", "0.5")) == {
        "S0", "S2", "S3", "S4", "S5"
    }  # fmt: skip


def tied_schemes(**last):
    """Return six schemes with equal scores; `last` are columns of the last one."""
    history = snapshots_with_scores(*["0.5"] * 5)
    return history.insert(5, scheme_code="S5", **{"eligibility_score": D("0.5"), **last})


def test_confidence_time_and_code_break_ties():
    assert scheme_codes(tied_schemes()) == {f"S{n}" for n in range(5)}
    assert scheme_codes(tied_schemes(evaluation_timestamp="2026-03-01T10:00:00.000001")) == {
        "S0", "S1", "S2", "S3", "S5"
    }  # fmt: skip
    assert "S5" in scheme_codes(
        tied_schemes(confidence_score=D("0.1"), evaluation_timestamp="2026-02-28T00:00:00")
    )


def two_members() -> HistoryBuilder:
    history = snapshot_history()
    history.insert(1, member_id="best", eligibility_score=D("0.9"))
    at = "2026-02-28T00:00:00"
    return history.insert(2, eligibility_score=D("0.4"), evaluation_timestamp=at)


def test_hint_has_score_of_best_member():
    (hint,) = expected(two_members()).values()
    assert hint["eligibility_score"] == D("0.90")


@pytest.mark.parametrize("status", ["NOT_ELIGIBLE", "ERROR"])
def test_second_best_member_returns_despite_older_evaluation(status):
    history = two_members().insert(
        3, member_id="best", evaluation_status=status, evaluation_timestamp="2026-03-02T00:00:00"
    )
    (hint,) = expected(history).values()
    assert (hint["eligibility_score"], hint["updated_at"]) == (D("0.40"), "2026-02-28T00:00:00")


def test_latest_evaluation_of_member_counts_in_any_order():
    history = two_members().insert(
        3, member_id="best", evaluation_status="ERROR", evaluation_timestamp="2026-02-20T00:00:00"
    )
    (hint,) = expected(history).values()
    assert hint["eligibility_score"] == D("0.90")


def test_evaluation_version_then_id_break_ties():
    history = snapshot_history().insert(3, eligibility_score=D("0.1"), evaluation_version=2)
    history.insert(4, eligibility_score=D("0.2"))
    (hint,) = expected(history).values()
    assert hint["eligibility_score"] == D("0.10")
    assert not expected(history.insert(5, evaluation_version=2, evaluation_status="ERROR"))


def test_deleted_snapshot_reveals_previous_one():
    history = two_members().insert(
        3, member_id="best", evaluation_status="ERROR", evaluation_timestamp="2026-03-02T00:00:00"
    )
    (hint,) = expected(history.delete(3)).values()
    assert hint["eligibility_score"] == D("0.90")
    assert not expected(history.delete(1).delete(2))


def test_snapshot_with_new_id_counts_once():
    assert len(expected(snapshots_with_scores("0.5").update(0, snapshot_id=7))) == 1


def test_snapshot_update_needs_newer_evaluation():
    history = snapshots_with_scores("0.5").update(0, evaluation_status="ERROR")
    assert expected(history)
    assert not expected(history.update(0, evaluation_timestamp="2026-03-01T10:00:01"))


def test_hint_expires_after_thirty_days():
    history = snapshots_with_scores("0.5")
    assert expected(history, parse_time("2026-03-31T10:00:00"))
    assert not expected(history, parse_time("2026-03-31T10:00:00.000001"))


def test_newer_ineligible_snapshot_hides_older_eligible_one():
    history = snapshots_with_scores("0.5").insert(
        1, scheme_code="S0", evaluation_status="ERROR", evaluation_timestamp="2026-03-01T10:00:01"
    )
    assert not expected(history)


@pytest.mark.parametrize(
    "invalid",
    [
        {"eligibility_score": D("1.5")},
        {"confidence_score": D("-0.1")},
        {"evaluation_status": "SPLENDID"},
    ],
)
def test_invalid_version_is_ignored(invalid):
    assert not expected(snapshot_history().insert(1, **invalid))
    later = {"evaluation_timestamp": "2026-03-01T10:00:01", **invalid}
    (hint,) = expected(snapshots_with_scores("0.5").update(0, **later)).values()
    assert hint["eligibility_score"] == D("0.50")
