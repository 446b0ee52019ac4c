"""Flow 12: what citizens say, to be analysed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sink_runner.plugin import Ignore, insert_once
from sink_runner.testing import NOW, Harness, MappingContract, Sample, delete, snapshot

POLICIES = Path(__file__).parents[3] / "ranger-policies"
RAVI = "00000000-0000-4000-8000-0000000000c1"
APPLICATION = "00000000-0000-4000-8000-0000000000a1"
MESSAGE = "My number is 0123 4567 8901, or 0123456789, or ravi@example.in. It takes 45 days."
COMPLAINT = {
    "id": "00000000-0000-4000-8000-000000000001",
    "citizen_id": RAVI,
    "application_id": APPLICATION,
    "type": "COMPLAINT",
    "rating": 2,
    "message": MESSAGE,
    "created_at": NOW,
    "updated_at": NOW,
}
FOUND = {"citizen_id": {RAVI: "RJ00000001"}, "scheme_code": {APPLICATION: "NREGA"}}


def said(**changed: Any) -> Sample:
    """A row as a batch reads it."""
    return snapshot(**COMPLAINT | changed)


class TestContract(MappingContract):
    plugin = "feedback"
    policies = POLICIES
    personal = frozenset({"message"})
    samples = (said(), said(rating=None, application_id=None, citizen_id=None), delete(**COMPLAINT))
    broken = (
        (said(rating=0), "minimum"),
        (said(rating=6), "maximum"),
        (said(type="PRAISE"), "type is known"),
        (said(type=None), "required"),
        (said(created_at=None), "required"),
        (said(created_at=NOW + timedelta(seconds=1)), "updated_at not before created_at"),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness("feedback", policies=POLICIES, found=FOUND)


def test_it_is_the_batch_of_half_past_two(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("30 2 * * *", False)


def test_columns_have_the_warehouse_s_names(sink: Harness) -> None:
    row = sink.send(said()).row
    assert (row["feedback_id"], row["feedback_type"]) == (COMPLAINT["id"], "COMPLAINT")
    assert (row["citizen_id"], row["scheme_code"]) == ("RJ00000001", "NREGA")


def test_numbers_and_emails_are_scrubbed_from_text(sink: Harness) -> None:
    hidden = "***MASKED***"
    expected = f"My number is {hidden}, or {hidden}, or {hidden}. It takes 45 days."
    assert sink.send(said()).row["comment"] == expected


@pytest.mark.parametrize("rating", [1, 5])
def test_the_ends_of_the_scale_pass(sink: Harness, rating: int) -> None:
    assert sink.send(said(rating=rating)).error is None


@pytest.mark.parametrize("kind", ["FEEDBACK", "complaint", "Suggestion", "RATING"])
def test_a_type_keeps_its_case(sink: Harness, kind: str) -> None:
    assert sink.send(said(type=kind)).row["feedback_type"] == kind


def test_who_and_what_for_may_be_unknown(sink: Harness) -> None:
    strange = said(citizen_id=APPLICATION, application_id=RAVI)
    assert [sink.send(strange).row[name] for name in ("citizen_id", "scheme_code")] == [None, None]


def test_what_was_said_stays_said(sink: Harness) -> None:
    assert sink.mapping.conflict == insert_once()
    assert sink.mapping.on_delete == sink.mapping.on_remove == Ignore()


@pytest.mark.parametrize("column", ["subject", "status", "resolution"])
def test_how_it_was_handled_is_not_even_read(sink: Harness, column: str) -> None:
    assert column not in sink.mapping.source_columns
