"""Flow 11: what citizens do in the portal, by type and day."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sink_runner.testing import NOW, Harness, MappingContract, Sample, snapshot

POLICIES = Path(__file__).parents[3] / "ranger-policies"
RAVI, STRANGER = "00000000-0000-4000-8000-0000000000c1", "00000000-0000-4000-8000-0000000000c2"
VIEWS = {
    "citizen_id": RAVI,
    "event_type": "PAGE_VIEW",
    "event_date": date(2026, 1, 14),
    "event_count": 3,
    "total_duration_seconds": Decimal("12.345"),
    "first_event_at": NOW - timedelta(days=1),
    "last_event_at": NOW - timedelta(hours=23),
}
FOUND = {"citizen_id": {RAVI: "RJ00000001"}}
TYPES = (
    *("PAGE_VIEW", "SCHEME_CLICK", "ELIGIBILITY_CHECK", "APPLICATION_START"),
    *("APPLICATION_COMPLETE", "DOCUMENT_UPLOAD", "SEARCH_QUERY"),
)


def day(**changed: Any) -> Sample:
    """A row as the query makes it."""
    return snapshot(**VIEWS | changed)


class TestContract(MappingContract):
    plugin = "user-behavior"
    policies = POLICIES
    samples = (day(), day(event_type="SEARCH_QUERY", event_count=1))
    broken = (
        (day(event_type="LOGIN"), "one_of"),
        (day(event_count=0), "minimum"),
        (
            day(last_event_at=NOW - timedelta(days=2)),
            "last_event_at not before first_event_at",
        ),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("user-behavior", policies=POLICIES, found=FOUND)


@pytest.fixture
def sink() -> Harness:
    return Harness("user-behavior", policies=POLICIES, found=FOUND)


def test_it_is_batch_of_two_in_night(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("0 2 * * *", False)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_the_portal_passes(sink: Harness, kind: str) -> None:
    assert sink.send(day(event_type=kind)).row["event_type"] == kind


def test_a_citizen_has_the_warehouse_s_id(sink: Harness) -> None:
    assert sink.send(day()).row["citizen_id"] == "RJ00000001"


def test_one_without_such_an_id_waits(sink: Harness) -> None:
    outcome = sink.send(day(citizen_id=STRANGER))
    assert outcome.waiting
    assert outcome.rows == []


def test_no_text_of_a_search_is_ever_read(sink: Harness) -> None:
    assert sink.mapping.query is not None
    assert "properties" not in sink.mapping.query.select
    assert "properties" not in sink.mapping.source_columns
