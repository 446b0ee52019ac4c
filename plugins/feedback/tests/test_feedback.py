"""Flow 12: citizens' feedback in the warehouse, with scrubbed comments."""

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


def feedback(**changed: Any) -> Sample:
    """Return a row as a batch reads it."""
    return snapshot(**COMPLAINT | changed)


class TestContract(MappingContract):
    plugin = "feedback"
    policies = POLICIES
    personal = frozenset({"message"})
    samples = (
        feedback(),
        feedback(rating=None, application_id=None, citizen_id=None),
        delete(**COMPLAINT),
    )
    broken = (
        (feedback(rating=0), "minimum"),
        (feedback(rating=6), "maximum"),
        (feedback(type="PRAISE"), "type is known"),
        (feedback(type=None), "required"),
        (feedback(created_at=None), "required"),
        (feedback(created_at=NOW + timedelta(seconds=1)), "updated_at not before created_at"),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness("feedback", policies=POLICIES, found=FOUND)


def test_schedule_is_incremental_batch_at_half_past_two(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("30 2 * * *", False)


def test_row_has_columns_of_warehouse(sink: Harness) -> None:
    row = sink.send(feedback()).row
    assert (row["feedback_id"], row["feedback_type"]) == (COMPLAINT["id"], "COMPLAINT")
    assert (row["citizen_id"], row["scheme_code"]) == ("RJ00000001", "NREGA")


def test_numbers_and_emails_are_scrubbed_from_text(sink: Harness) -> None:
    mask = "***MASKED***"
    expected = f"My number is {mask}, or {mask}, or {mask}. It takes 45 days."
    assert sink.send(feedback()).row["comment"] == expected


@pytest.mark.parametrize("rating", [1, 5])
def test_lowest_and_highest_rating_pass(sink: Harness, rating: int) -> None:
    assert sink.send(feedback(rating=rating)).error is None


@pytest.mark.parametrize("kind", ["FEEDBACK", "complaint", "Suggestion", "RATING"])
def test_type_keeps_its_case(sink: Harness, kind: str) -> None:
    assert sink.send(feedback(type=kind)).row["feedback_type"] == kind


def test_unknown_citizen_and_application_are_null(sink: Harness) -> None:
    unknown = feedback(citizen_id=APPLICATION, application_id=RAVI)
    assert [sink.send(unknown).row[name] for name in ("citizen_id", "scheme_code")] == [None, None]


def test_feedback_is_never_updated_or_removed(sink: Harness) -> None:
    assert sink.mapping.conflict == insert_once()
    assert sink.mapping.on_delete == sink.mapping.on_remove == Ignore()


@pytest.mark.parametrize("column", ["subject", "status", "resolution"])
def test_columns_of_processing_are_not_read(sink: Harness, column: str) -> None:
    assert column not in sink.mapping.source_columns
