"""Flow 9: to which status an application came, and when."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    Outcome,
    Sample,
    TargetHarness,
    create,
    delete,
    snapshot,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
APPLICATION = "00000000-0000-4000-8000-000000000001"
RAVI, STRANGER = "00000000-0000-4000-8000-0000000000c1", "00000000-0000-4000-8000-0000000000c2"
NREGA, OTHER = "00000000-0000-4000-8000-00000000005c", "00000000-0000-4000-8000-00000000005d"
SUBMITTED, APPROVED = NOW - timedelta(days=2), NOW - timedelta(minutes=1)
LATER = NOW + timedelta(minutes=5)
FORM = {
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
SILENT = ["UNDER_REVIEW", "COMPLETED", "PENDING_DOCS", "DRAFT", "draft", "", "SUBMITTED ", None]


def form(**changed: Any) -> Sample:
    return create(**FORM | changed)


def becomes(status: str | None, was: str | None = "UNDER_REVIEW", **changed: Any) -> Sample:
    """The status changes, now."""
    return update(FORM | {"status": was}, status=status, updated_at=NOW, **changed)


def resolve(column: str, asked: set[Any]) -> Mapping[Any, Any]:
    """As the databases do, where the target has no event yet."""
    if column == "event_timestamp":
        return {event: event[2] for event in asked}
    return FOUND[column]


def told(outcome: Outcome) -> tuple[str, str]:
    return outcome.row["event_type"], outcome.row["event_timestamp"]


@pytest.fixture
def sink() -> Harness:
    return Harness("applications", policies=POLICIES, resolve=resolve)


class TestContract(MappingContract):
    plugin = "applications"
    policies = POLICIES
    samples = (
        form(),
        form(citizen_id=STRANGER, scheme_id=None),
        form(status="draft", submission_date=None),
        becomes("APPROVED", approved_at=APPROVED),
        becomes("UNDER_REVIEW", was="SUBMITTED"),
        snapshot(**FORM),
        delete(**FORM),
    )
    broken = (
        (form(submission_date=None), "required"),
        (form(created_at=NOW, updated_at=SUBMITTED), "updated_at not before created_at"),
    )

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness("applications", policies=POLICIES, resolve=resolve)


class TestType:
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
    def test_a_status_in_any_case_has_its_event(
        self, sink: Harness, status: str, event_type: str, case: Any
    ) -> None:
        for event in (
            form(status=case(status)),
            snapshot(**FORM | {"status": case(status)}),
            becomes(case(status)),
        ):
            assert sink.send(event).row["event_type"] == event_type

    @pytest.mark.parametrize("status", SILENT)
    def test_any_other_has_none(self, sink: Harness, status: str | None) -> None:
        assert sink.apply(form(status=status)).counts == {"dropped": 1}
        assert sink.apply(snapshot(**FORM | {"status": status})).counts == {"dropped": 1}
        assert sink.apply(becomes(status, was="SUBMITTED")).counts == {"dropped": 1}

    @pytest.mark.parametrize(
        ("was", "status"), [("REJECTED", "REJECTED"), ("Approved", "APPROVED")]
    )
    def test_an_update_that_leaves_the_status_has_none(
        self, sink: Harness, was: str, status: str
    ) -> None:
        outcome = sink.send(becomes(status, was=was, approved_at=LATER))
        assert (outcome.rows, outcome.error) == ([], None)

    @pytest.mark.parametrize("was", [*SILENT, "APPROVED", "rejected"])
    def test_whatever_the_status_was(self, sink: Harness, was: str | None) -> None:
        assert sink.send(becomes("WITHDRAWN", was=was)).row["event_type"] == "APPLICATION_WITHDRAWN"


class TestTime:
    def test_submission_has_its_own(self, sink: Harness) -> None:
        later = becomes("SUBMITTED", was="DRAFT", submission_date=APPROVED)
        assert told(sink.send(later)) == ("APPLICATION_SUBMITTED", APPROVED.isoformat())

    @pytest.mark.parametrize("status", ["REJECTED", "WITHDRAWN", "cancelled"])
    def test_others_have_that_of_the_change(self, sink: Harness, status: str) -> None:
        event = sink.send(becomes(status, approved_at=APPROVED)).row
        assert event["event_timestamp"] == NOW.isoformat()
        assert event["approval_timestamp"] is None

    @pytest.mark.parametrize("status", ["APPROVED", "approved"])
    @pytest.mark.parametrize(("given", "time"), [(APPROVED, APPROVED), (None, NOW)])
    def test_approval_has_its_own_or_that_of_change(
        self, sink: Harness, status: str, given: datetime | None, time: datetime
    ) -> None:
        event = sink.send(becomes(status, approved_at=given)).row
        assert event["event_timestamp"] == NOW.isoformat()
        assert event["approval_timestamp"] == time.isoformat()

    @pytest.mark.parametrize(
        ("status", "approval"), [("REJECTED", None), ("APPROVED", NOW.isoformat())]
    )
    def test_commit_stands_for_a_missing_time(
        self, sink: Harness, status: str, approval: str | None
    ) -> None:
        bare = FORM | {"updated_at": None, "status": "UNDER_REVIEW"}
        event = sink.send(update(bare, status=status).at(NOW, 2)).row
        assert (event["event_timestamp"], event["approval_timestamp"]) == (
            NOW.isoformat(),
            approval,
        )

    def test_a_submission_has_no_approval(self, sink: Harness) -> None:
        assert sink.send(form(approved_at=APPROVED)).row["approval_timestamp"] is None


class TestConsistency:
    def test_an_application_for_no_scheme_has_no_code(self, sink: Harness) -> None:
        assert sink.send(form(scheme_id=None)).row["scheme_code"] is None

    def test_one_for_an_unknown_scheme_waits(self, sink: Harness) -> None:
        outcome = sink.send(form(scheme_id=OTHER))
        assert outcome.waiting
        assert outcome.rows == []

    @pytest.mark.parametrize("citizen", [STRANGER, None])
    def test_an_unknown_citizen_is_null(self, sink: Harness, citizen: str | None) -> None:
        assert sink.send(form(citizen_id=citizen)).row["citizen_id"] is None


def test_an_application_s_text_is_not_even_read(sink: Harness) -> None:
    texts = {"subject", "description", "application_data"}
    assert not texts & set(sink.mapping.source_columns)


@pytest.fixture
def portal(postgres) -> str:
    """A copy of the portal with two citizens and two schemes; one of each is only its own."""
    name: str = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(name)) as connection:
        connection.execute(
            "INSERT INTO citizens (id, aadhaar_number, full_name, mobile_number) VALUES "
            "(%s, '010000000001', 'Ravi', '1'), (%s, '010000000002', 'Asha', '2')",
            (RAVI, STRANGER),
        )
        connection.execute(
            "INSERT INTO schemes (id, code, name) VALUES (%s, 'NREGA', 'N'), (%s, 'OWN', 'O')",
            (NREGA, OTHER),
        )
    return name


@pytest.fixture
def warehouse(postgres, portal: str) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_warehouse")
    harness = TargetHarness(
        "applications",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={
            "smart_citizen": postgres.dsn(portal, role="sink_reader"),
            "smart_warehouse": postgres.dsn(name, role="sink_reader"),
        },
    )
    harness.admin.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES ('010000000001', 'RJ00000001')"
    )
    known(harness, "NREGA")
    yield harness
    harness.close()


def known(warehouse: TargetHarness, code: str) -> None:
    warehouse.admin.execute(
        "INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES (%s, 'S', 'HEALTH')",
        (code,),
    )


def events(warehouse: TargetHarness) -> list[tuple[str, datetime]]:
    rows = warehouse.rows("event_type", "event_timestamp", order="event_timestamp, event_type")
    return [
        (row["event_type"].removeprefix("APPLICATION_"), row["event_timestamp"]) for row in rows
    ]


@pytest.mark.postgres
class TestInTheDatabase:
    def test_an_event_has_the_warehouse_s_names(self, warehouse: TargetHarness) -> None:
        assert warehouse.send(form()) == 1
        (row,) = warehouse.rows()
        assert row["application_id"] == UUID(APPLICATION)
        assert (row["citizen_id"], row["scheme_code"]) == ("RJ00000001", "NREGA")
        assert (row["event_type"], row["event_timestamp"]) == ("APPLICATION_SUBMITTED", SUBMITTED)
        assert row["approval_timestamp"] is None
        assert warehouse.dead() == []

    @pytest.mark.parametrize("together", [True, False])
    def test_a_life_is_a_row_for_each_step(
        self, warehouse: TargetHarness, *, together: bool
    ) -> None:
        again = FORM | {"status": "approved", "updated_at": NOW}
        steps = [
            form(status="DRAFT", submission_date=None),
            becomes("SUBMITTED", was="DRAFT").at(NOW, 2),
            becomes("UNDER_REVIEW", was="SUBMITTED").at(NOW, 3),
            becomes("approved").at(NOW, 4),
            update(again, status="APPROVED", updated_at=LATER).at(NOW, 5),
            update(again, status="WITHDRAWN", updated_at=LATER).at(NOW, 6),
        ]
        for batch in [steps] if together else [[step] for step in steps]:
            warehouse.send(*batch)
        assert events(warehouse) == [
            ("SUBMITTED", SUBMITTED),
            ("APPROVED", NOW),
            ("WITHDRAWN", LATER),
        ]
        approvals = [row["approval_timestamp"] for row in warehouse.rows(order="event_timestamp")]
        assert approvals == [None, NOW, None]

    def test_the_same_event_is_written_once(self, warehouse: TargetHarness) -> None:
        assert warehouse.send(form(), form(scheme_id=None).at(NOW)) == 1
        assert warehouse.send(snapshot(**FORM).at(NOW, 3)) == 0
        assert [row["scheme_code"] for row in warehouse.rows()] == ["NREGA"]

    def test_a_second_rejection_is_another_event(self, warehouse: TargetHarness) -> None:
        warehouse.send(becomes("REJECTED").at(NOW, 2))
        again = FORM | {"status": "PENDING_DOCS"}
        warehouse.send(update(again, status="REJECTED", updated_at=LATER).at(NOW, 3))
        assert events(warehouse) == [("REJECTED", NOW), ("REJECTED", LATER)]

    def test_a_delete_keeps_the_events(self, warehouse: TargetHarness) -> None:
        warehouse.send(form(), delete(**FORM).at(NOW))
        assert events(warehouse) == [("SUBMITTED", SUBMITTED)]
        assert warehouse.send(delete(**FORM | {"status": None}).at(NOW, 3)) == 0
        assert warehouse.dead() == []

    @pytest.mark.parametrize("citizen", [STRANGER, APPLICATION, None])
    def test_citizen_whom_warehouse_does_not_know_is_null(
        self, warehouse: TargetHarness, citizen: str | None
    ) -> None:
        warehouse.send(form(citizen_id=citizen))
        assert [row["citizen_id"] for row in warehouse.rows()] == [None]
        assert warehouse.dead() == []


@pytest.mark.postgres
class TestUnknownScheme:
    """The portal's own code, and one that the warehouse only gets later."""

    def test_the_application_waits_for_it_in_order(self, warehouse: TargetHarness) -> None:
        own = FORM | {"scheme_id": OTHER}
        warehouse.send(create(**own))
        warehouse.send(update(own, status="REJECTED", updated_at=NOW).at(NOW))
        assert warehouse.rows() == []
        assert [dead_letter["status"] for dead_letter in warehouse.dead()] == ["PARKED", "PARKED"]
        known(warehouse, "OWN")
        warehouse.retry()
        assert events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", NOW)]
        assert {row["scheme_code"] for row in warehouse.rows()} == {"OWN"}

    def test_other_applications_go_on(self, warehouse: TargetHarness) -> None:
        warehouse.send(form(scheme_id=OTHER), form(id=STRANGER))
        assert [str(row["application_id"]) for row in warehouse.rows()] == [STRANGER]


@pytest.mark.postgres
class TestRead:
    """A snapshot or a batch tells a status, and not since when."""

    REJECTED = FORM | {"status": "REJECTED", "updated_at": NOW}

    def test_it_is_an_event_where_there_is_none(self, warehouse: TargetHarness) -> None:
        warehouse.send(form())
        assert warehouse.send(snapshot(**self.REJECTED).at(NOW, 2)) == 1
        assert events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", NOW)]

    @pytest.mark.parametrize("status", ["REJECTED", "CANCELLED", "APPROVED"])
    def test_it_is_none_where_last_one_says_same(
        self, warehouse: TargetHarness, status: str
    ) -> None:
        warehouse.send(form(), becomes(status).at(NOW, 2))
        before = events(warehouse)
        touched = FORM | {"status": status.lower(), "updated_at": LATER}
        assert warehouse.send(snapshot(**touched).at(NOW, 3)) == 0
        assert events(warehouse) == before

    def test_time_of_approval_is_not_that_of_event(self, warehouse: TargetHarness) -> None:
        warehouse.send(becomes("APPROVED", approved_at=APPROVED))
        again = FORM | {"status": "APPROVED", "approved_at": APPROVED, "updated_at": LATER}
        assert warehouse.send(snapshot(**again).at(NOW, 3)) == 0
        assert events(warehouse) == [("APPROVED", NOW)]

    def test_only_the_last_event_counts(self, warehouse: TargetHarness) -> None:
        warehouse.send(becomes("REJECTED").at(NOW, 2))
        rejected = FORM | {"status": "REJECTED"}
        warehouse.send(update(rejected, status="WITHDRAWN", updated_at=LATER).at(NOW, 3))
        latest = LATER + timedelta(days=1)
        warehouse.send(snapshot(**rejected | {"updated_at": latest}).at(NOW, 4))
        assert events(warehouse) == [("REJECTED", NOW), ("WITHDRAWN", LATER), ("REJECTED", latest)]

    def test_event_that_comes_after_it_is_same_one(self, warehouse: TargetHarness) -> None:
        """The capture lags: the batch has read the row after another change of it."""
        warehouse.send(form())
        touched = FORM | {"status": "REJECTED", "updated_at": LATER}
        warehouse.send(snapshot(**touched).at(NOW, 4))
        assert warehouse.send(becomes("REJECTED").at(NOW, 2)) == 0
        assert events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", LATER)]

    def test_event_before_another_type_is_separate(self, warehouse: TargetHarness) -> None:
        withdrawn = FORM | {"status": "WITHDRAWN", "updated_at": LATER}
        warehouse.send(snapshot(**withdrawn).at(NOW, 4))
        assert warehouse.send(becomes("REJECTED").at(NOW, 2)) == 1
        assert events(warehouse) == [("REJECTED", NOW), ("WITHDRAWN", LATER)]

    def test_replay_of_several_of_one_type_makes_none(self, warehouse: TargetHarness) -> None:
        history = (
            becomes("REJECTED").at(NOW, 2),
            update(FORM | {"status": "UNDER_REVIEW"}, status="REJECTED", updated_at=LATER).at(
                NOW, 3
            ),
        )
        for event in history:
            warehouse.send(event)
        before = events(warehouse)
        assert len(before) == 2
        assert [warehouse.send(event) for event in history] == [0, 0]
        assert events(warehouse) == before

    def test_two_reads_in_one_poll_are_one_event(self, warehouse: TargetHarness) -> None:
        touched = self.REJECTED | {"updated_at": LATER}
        warehouse.send(snapshot(**self.REJECTED).at(NOW, 2), snapshot(**touched).at(NOW, 3))
        assert events(warehouse) == [("REJECTED", NOW)]

    def test_read_and_event_of_one_poll_are_one(self, warehouse: TargetHarness) -> None:
        touched = self.REJECTED | {"updated_at": LATER}
        warehouse.send(becomes("REJECTED").at(NOW, 2), snapshot(**touched).at(NOW, 3))
        assert events(warehouse) == [("REJECTED", NOW)]

    def test_batch_beside_a_live_event_makes_one(self, warehouse: TargetHarness) -> None:
        """Both were routed before either was written; the second finds what the first wrote."""
        touched = self.REJECTED | {"updated_at": LATER}
        first = warehouse.batch(becomes("REJECTED").at(NOW, 2))
        second = warehouse.batch(snapshot(**touched).at(NOW, 3))
        for batch in (first, second):
            warehouse.waiting.hold(batch)
            warehouse.apply(batch)
        assert events(warehouse) == [("REJECTED", NOW)]


@pytest.mark.postgres
class TestAgain:
    """An application that comes to a status a second time."""

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("between", ["UNDER_REVIEW", "REJECTED"])
    @pytest.mark.parametrize("approved", [SUBMITTED, APPROVED, None])
    def test_second_approval_is_not_lost(
        self,
        warehouse: TargetHarness,
        between: str,
        approved: datetime | None,
        *,
        together: bool,
    ) -> None:
        """`approved_at` keeps an earlier value, or goes back to one."""
        middle = NOW + timedelta(minutes=1)
        was = FORM | {"status": "APPROVED", "approved_at": APPROVED, "updated_at": NOW}
        other = was | {"status": between, "updated_at": middle}
        steps = [
            becomes("APPROVED", approved_at=APPROVED).at(NOW, 2),
            update(was, status=between, updated_at=middle).at(middle, 3),
            update(other, status="APPROVED", approved_at=approved, updated_at=LATER).at(LATER, 4),
        ]
        for batch in [steps] if together else [[step] for step in steps]:
            warehouse.send(*batch)
        found = [event for event in events(warehouse) if event[0] == "APPROVED"]
        assert found == [("APPROVED", NOW), ("APPROVED", LATER)]
        times = [row["approval_timestamp"] for row in warehouse.rows(order="event_timestamp")]
        assert (times[0], times[-1]) == (APPROVED, approved or LATER)
