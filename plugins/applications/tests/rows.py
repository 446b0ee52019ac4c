"""Rows of an application, and lookups, for the tests of the plugin."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sink_runner.testing import (
    NOW,
    Outcome,
    Sample,
    create,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
APPLICATION = "00000000-0000-4000-8000-000000000001"
RAVI, STRANGER = "00000000-0000-4000-8000-0000000000c1", "00000000-0000-4000-8000-0000000000c2"
NREGA, OTHER = "00000000-0000-4000-8000-00000000005c", "00000000-0000-4000-8000-00000000005d"
SUBMITTED, APPROVED = NOW - timedelta(days=2), NOW - timedelta(minutes=1)
LATER = NOW + timedelta(minutes=5)
ROW = {
    "id": APPLICATION,
    "citizen_id": RAVI,
    "scheme_id": NREGA,
    "status": "SUBMITTED",
    "submission_date": SUBMITTED,
    "approved_at": None,
    "created_at": SUBMITTED,
    "updated_at": SUBMITTED,
}
FOUND = {"citizen_id": {RAVI: "RJ00000001"}, "scheme_code": {NREGA: "NREGA"}}
STATUSES_WITHOUT_EVENT = [
    "UNDER_REVIEW",
    "COMPLETED",
    "PENDING_DOCS",
    "DRAFT",
    "draft",
    "",
    "SUBMITTED ",
    None,
]


def application(**changed: Any) -> Sample:
    return create(**ROW | changed)


def change_status(status: str | None, was: str | None = "UNDER_REVIEW", **changed: Any) -> Sample:
    """Return an update at NOW from one status to another."""
    return update(ROW | {"status": was}, status=status, updated_at=NOW, **changed)


def resolve(column: str, values: set[Any]) -> Mapping[Any, Any]:
    """Look values up as the databases do while the target has no event."""
    if column == "event_timestamp":
        return {event: event[2] for event in values}
    return FOUND[column]


def type_and_time(outcome: Outcome) -> tuple[str, str]:
    return outcome.row["event_type"], outcome.row["event_timestamp"]
