"""Flow 11: counts of what citizens do in the portal, by type and day."""

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


def daily_count(**changed: Any) -> Sample:
    """Return a row as the query of the batch returns it."""
    return snapshot(**VIEWS | changed)


class TestContract(MappingContract):
    plugin = "user-behavior"
    policies = POLICIES
    samples = (daily_count(), daily_count(event_type="SEARCH_QUERY", event_count=1))
    broken = (
        (daily_count(event_type="LOGIN"), "one_of"),
        (daily_count(event_count=0), "minimum"),
        (
            daily_count(last_event_at=NOW - timedelta(days=2)),
            "last_event_at not before first_event_at",
        ),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("user-behavior", policies=POLICIES, found=FOUND)


@pytest.fixture
def sink() -> Harness:
    return Harness("user-behavior", policies=POLICIES, found=FOUND)


def test_schedule_is_incremental_batch_at_two(sink: Harness) -> None:
    assert not sink.mapping.streaming
    (schedule,) = sink.mapping.schedules
    assert (schedule.cron, schedule.full) == ("0 2 * * *", False)


@pytest.mark.parametrize("kind", TYPES)
def test_every_event_type_passes(sink: Harness, kind: str) -> None:
    assert sink.send(daily_count(event_type=kind)).row["event_type"] == kind


def test_citizen_has_id_of_warehouse(sink: Harness) -> None:
    assert sink.send(daily_count()).row["citizen_id"] == "RJ00000001"


def test_unknown_citizen_is_deferred(sink: Harness) -> None:
    outcome = sink.send(daily_count(citizen_id=STRANGER))
    assert outcome.waiting
    assert outcome.rows == []


def test_search_texts_are_not_read(sink: Harness) -> None:
    assert sink.mapping.query is not None
    assert "properties" not in sink.mapping.query.select
    assert "properties" not in sink.mapping.source_columns
