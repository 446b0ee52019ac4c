"""Flow 9: each status that an application reaches is an event with a time."""

from datetime import datetime
from typing import Any

import pytest

from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    delete,
    snapshot,
    update,
)

from .rows import (
    APPROVED,
    LATER,
    OTHER,
    POLICIES,
    ROW,
    STATUSES_WITHOUT_EVENT,
    STRANGER,
    SUBMITTED,
    application,
    change_status,
    resolve,
    type_and_time,
)


@pytest.fixture
def sink() -> Harness:
    return Harness("applications", policies=POLICIES, resolve=resolve)


class TestContract(MappingContract):
    plugin = "applications"
    policies = POLICIES
    samples = (
        application(),
        application(citizen_id=STRANGER, scheme_id=None),
        application(status="draft", submission_date=None),
        change_status("APPROVED", approved_at=APPROVED),
        change_status("UNDER_REVIEW", was="SUBMITTED"),
        snapshot(**ROW),
        delete(**ROW),
    )
    broken = (
        (application(submission_date=None), "required"),
        (application(created_at=NOW, updated_at=SUBMITTED), "updated_at not before created_at"),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("applications", policies=POLICIES, resolve=resolve)


class TestEventType:
    @pytest.mark.parametrize(
        ("status", "event_type"),
        [
            ("SUBMITTED", "APPLICATION_SUBMITTED"),
            ("APPROVED", "APPLICATION_APPROVED"),
            ("REJECTED", "APPLICATION_REJECTED"),
            ("WITHDRAWN", "APPLICATION_WITHDRAWN"),
            ("CANCELLED", "APPLICATION_WITHDRAWN"),
        ],
    )
    @pytest.mark.parametrize("case", [str.upper, str.lower, str.capitalize])
    def test_status_in_any_case_has_its_event(
        self, sink: Harness, status: str, event_type: str, case: Any
    ) -> None:
        for event in (
            application(status=case(status)),
            snapshot(**ROW | {"status": case(status)}),
            change_status(case(status)),
        ):
            assert sink.send(event).row["event_type"] == event_type

    @pytest.mark.parametrize("status", STATUSES_WITHOUT_EVENT)
    def test_other_status_has_no_event(self, sink: Harness, status: str | None) -> None:
        assert sink.apply(application(status=status)).counts == {"filtered": 1}
        assert sink.apply(snapshot(**ROW | {"status": status})).counts == {"filtered": 1}
        assert sink.apply(change_status(status, was="SUBMITTED")).counts == {"filtered": 1}

    @pytest.mark.parametrize(
        ("was", "status"), [("REJECTED", "REJECTED"), ("Approved", "APPROVED")]
    )
    def test_update_that_keeps_status_has_no_event(
        self, sink: Harness, was: str, status: str
    ) -> None:
        outcome = sink.send(change_status(status, was=was, approved_at=LATER))
        assert (outcome.rows, outcome.error) == ([], None)

    @pytest.mark.parametrize("was", [*STATUSES_WITHOUT_EVENT, "APPROVED", "rejected"])
    def test_previous_status_does_not_matter(self, sink: Harness, was: str | None) -> None:
        assert (
            sink.send(change_status("WITHDRAWN", was=was)).row["event_type"]
            == "APPLICATION_WITHDRAWN"
        )


class TestEventTime:
    def test_submission_has_time_of_submission_date(self, sink: Harness) -> None:
        later = change_status("SUBMITTED", was="DRAFT", submission_date=APPROVED)
        assert type_and_time(sink.send(later)) == ("APPLICATION_SUBMITTED", APPROVED.isoformat())

    @pytest.mark.parametrize("status", ["REJECTED", "WITHDRAWN", "cancelled"])
    def test_other_event_has_time_of_change(self, sink: Harness, status: str) -> None:
        event = sink.send(change_status(status, approved_at=APPROVED)).row
        assert event["event_timestamp"] == NOW.isoformat()
        assert event["approval_timestamp"] is None

    @pytest.mark.parametrize("status", ["APPROVED", "approved"])
    @pytest.mark.parametrize(("approved_at", "expected"), [(APPROVED, APPROVED), (None, NOW)])
    def test_approval_time_defaults_to_time_of_change(
        self, sink: Harness, status: str, approved_at: datetime | None, expected: datetime
    ) -> None:
        event = sink.send(change_status(status, approved_at=approved_at)).row
        assert event["event_timestamp"] == NOW.isoformat()
        assert event["approval_timestamp"] == expected.isoformat()

    @pytest.mark.parametrize(
        ("status", "approval"), [("REJECTED", None), ("APPROVED", NOW.isoformat())]
    )
    def test_commit_time_replaces_missing_update_time(
        self, sink: Harness, status: str, approval: str | None
    ) -> None:
        untimed = ROW | {"updated_at": None, "status": "UNDER_REVIEW"}
        event = sink.send(update(untimed, status=status).at(NOW, 2)).row
        assert (event["event_timestamp"], event["approval_timestamp"]) == (
            NOW.isoformat(),
            approval,
        )

    def test_submission_has_no_approval_time(self, sink: Harness) -> None:
        assert sink.send(application(approved_at=APPROVED)).row["approval_timestamp"] is None


class TestLookups:
    def test_application_without_scheme_has_no_code(self, sink: Harness) -> None:
        assert sink.send(application(scheme_id=None)).row["scheme_code"] is None

    def test_application_for_unknown_scheme_is_deferred(self, sink: Harness) -> None:
        outcome = sink.send(application(scheme_id=OTHER))
        assert outcome.waiting
        assert outcome.rows == []

    @pytest.mark.parametrize("citizen", [STRANGER, None])
    def test_unknown_citizen_is_null(self, sink: Harness, citizen: str | None) -> None:
        assert sink.send(application(citizen_id=citizen)).row["citizen_id"] is None


def test_texts_of_application_are_not_read(sink: Harness) -> None:
    texts = {"subject", "description", "application_data"}
    assert not texts & set(sink.mapping.source_columns)
