"""Flow 9 on PostgreSQL: the events that are written to the warehouse."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from sink_runner.testing import (
    NOW,
    TargetHarness,
    create,
    delete,
    snapshot,
    update,
)

from .rows import (
    APPLICATION,
    APPROVED,
    LATER,
    NREGA,
    OTHER,
    POLICIES,
    RAVI,
    ROW,
    STRANGER,
    SUBMITTED,
    application,
    change_status,
)


@pytest.fixture
def portal(postgres) -> str:
    """Copy the portal, with two citizens and two schemes; the warehouse knows one of each."""
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
    insert_scheme(harness, "NREGA")
    yield harness
    harness.close()


def insert_scheme(warehouse: TargetHarness, code: str) -> None:
    warehouse.admin.execute(
        "INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES (%s, 'S', 'HEALTH')",
        (code,),
    )


def read_events(warehouse: TargetHarness) -> list[tuple[str, datetime]]:
    rows = warehouse.rows("event_type", "event_timestamp", order="event_timestamp, event_type")
    return [
        (row["event_type"].removeprefix("APPLICATION_"), row["event_timestamp"]) for row in rows
    ]


@pytest.mark.postgres
class TestWrittenEvents:
    def test_event_has_columns_of_warehouse(self, warehouse: TargetHarness) -> None:
        assert warehouse.send(application()) == 1
        (row,) = warehouse.rows()
        assert row["application_id"] == UUID(APPLICATION)
        assert (row["citizen_id"], row["scheme_code"]) == ("RJ00000001", "NREGA")
        assert (row["event_type"], row["event_timestamp"]) == ("APPLICATION_SUBMITTED", SUBMITTED)
        assert row["approval_timestamp"] is None
        assert warehouse.dead() == []

    @pytest.mark.parametrize("together", [True, False])
    def test_each_reached_status_is_a_row(
        self, warehouse: TargetHarness, *, together: bool
    ) -> None:
        again = ROW | {"status": "approved", "updated_at": NOW}
        steps = [
            application(status="DRAFT", submission_date=None),
            change_status("SUBMITTED", was="DRAFT").at(NOW, 2),
            change_status("UNDER_REVIEW", was="SUBMITTED").at(NOW, 3),
            change_status("approved").at(NOW, 4),
            update(again, status="APPROVED", updated_at=LATER).at(NOW, 5),
            update(again, status="WITHDRAWN", updated_at=LATER).at(NOW, 6),
        ]
        for batch in [steps] if together else [[step] for step in steps]:
            warehouse.send(*batch)
        assert read_events(warehouse) == [
            ("SUBMITTED", SUBMITTED),
            ("APPROVED", NOW),
            ("WITHDRAWN", LATER),
        ]
        approvals = [row["approval_timestamp"] for row in warehouse.rows(order="event_timestamp")]
        assert approvals == [None, NOW, None]

    def test_same_event_is_written_once(self, warehouse: TargetHarness) -> None:
        assert warehouse.send(application(), application(scheme_id=None).at(NOW)) == 1
        assert warehouse.send(snapshot(**ROW).at(NOW, 3)) == 0
        assert [row["scheme_code"] for row in warehouse.rows()] == ["NREGA"]

    def test_second_rejection_is_another_event(self, warehouse: TargetHarness) -> None:
        warehouse.send(change_status("REJECTED").at(NOW, 2))
        again = ROW | {"status": "PENDING_DOCS"}
        warehouse.send(update(again, status="REJECTED", updated_at=LATER).at(NOW, 3))
        assert read_events(warehouse) == [("REJECTED", NOW), ("REJECTED", LATER)]

    def test_deletion_keeps_events(self, warehouse: TargetHarness) -> None:
        warehouse.send(application(), delete(**ROW).at(NOW))
        assert read_events(warehouse) == [("SUBMITTED", SUBMITTED)]
        assert warehouse.send(delete(**ROW | {"status": None}).at(NOW, 3)) == 0
        assert warehouse.dead() == []

    @pytest.mark.parametrize("citizen", [STRANGER, APPLICATION, None])
    def test_citizen_unknown_to_warehouse_is_null(
        self, warehouse: TargetHarness, citizen: str | None
    ) -> None:
        warehouse.send(application(citizen_id=citizen))
        assert [row["citizen_id"] for row in warehouse.rows()] == [None]
        assert warehouse.dead() == []


@pytest.mark.postgres
class TestUnknownScheme:
    """The warehouse gets a scheme of the portal only after its applications."""

    def test_deferred_events_are_applied_in_order(self, warehouse: TargetHarness) -> None:
        unknown = ROW | {"scheme_id": OTHER}
        warehouse.send(create(**unknown))
        warehouse.send(update(unknown, status="REJECTED", updated_at=NOW).at(NOW))
        assert warehouse.rows() == []
        assert [dead_letter["status"] for dead_letter in warehouse.dead()] == ["PARKED", "PARKED"]
        insert_scheme(warehouse, "OWN")
        warehouse.retry()
        assert read_events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", NOW)]
        assert {row["scheme_code"] for row in warehouse.rows()} == {"OWN"}

    def test_other_applications_are_not_deferred(self, warehouse: TargetHarness) -> None:
        warehouse.send(application(scheme_id=OTHER), application(id=STRANGER))
        assert [str(row["application_id"]) for row in warehouse.rows()] == [STRANGER]


@pytest.mark.postgres
class TestSnapshot:
    """A row of a snapshot or batch has a status, but not the time when it was reached."""

    REJECTED = ROW | {"status": "REJECTED", "updated_at": NOW}

    def test_status_without_event_is_new_event(self, warehouse: TargetHarness) -> None:
        warehouse.send(application())
        assert warehouse.send(snapshot(**self.REJECTED).at(NOW, 2)) == 1
        assert read_events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", NOW)]

    @pytest.mark.parametrize("status", ["REJECTED", "CANCELLED", "APPROVED"])
    def test_status_of_last_event_is_not_repeated(
        self, warehouse: TargetHarness, status: str
    ) -> None:
        warehouse.send(application(), change_status(status).at(NOW, 2))
        before = read_events(warehouse)
        touched = ROW | {"status": status.lower(), "updated_at": LATER}
        assert warehouse.send(snapshot(**touched).at(NOW, 3)) == 0
        assert read_events(warehouse) == before

    def test_approval_time_does_not_make_another_event(self, warehouse: TargetHarness) -> None:
        warehouse.send(change_status("APPROVED", approved_at=APPROVED))
        again = ROW | {"status": "APPROVED", "approved_at": APPROVED, "updated_at": LATER}
        assert warehouse.send(snapshot(**again).at(NOW, 3)) == 0
        assert read_events(warehouse) == [("APPROVED", NOW)]

    def test_status_is_compared_with_last_event_only(self, warehouse: TargetHarness) -> None:
        warehouse.send(change_status("REJECTED").at(NOW, 2))
        rejected = ROW | {"status": "REJECTED"}
        warehouse.send(update(rejected, status="WITHDRAWN", updated_at=LATER).at(NOW, 3))
        latest = LATER + timedelta(days=1)
        warehouse.send(snapshot(**rejected | {"updated_at": latest}).at(NOW, 4))
        assert read_events(warehouse) == [
            ("REJECTED", NOW),
            ("WITHDRAWN", LATER),
            ("REJECTED", latest),
        ]

    def test_late_change_event_is_not_repeated(self, warehouse: TargetHarness) -> None:
        """The batch reads a later version of the row before the first change is captured."""
        warehouse.send(application())
        touched = ROW | {"status": "REJECTED", "updated_at": LATER}
        warehouse.send(snapshot(**touched).at(NOW, 4))
        assert warehouse.send(change_status("REJECTED").at(NOW, 2)) == 0
        assert read_events(warehouse) == [("SUBMITTED", SUBMITTED), ("REJECTED", LATER)]

    def test_late_event_of_another_type_is_written(self, warehouse: TargetHarness) -> None:
        withdrawn = ROW | {"status": "WITHDRAWN", "updated_at": LATER}
        warehouse.send(snapshot(**withdrawn).at(NOW, 4))
        assert warehouse.send(change_status("REJECTED").at(NOW, 2)) == 1
        assert read_events(warehouse) == [("REJECTED", NOW), ("WITHDRAWN", LATER)]

    def test_replayed_events_are_not_repeated(self, warehouse: TargetHarness) -> None:
        history = (
            change_status("REJECTED").at(NOW, 2),
            update(ROW | {"status": "UNDER_REVIEW"}, status="REJECTED", updated_at=LATER).at(
                NOW, 3
            ),
        )
        for event in history:
            warehouse.send(event)
        before = read_events(warehouse)
        assert len(before) == 2
        assert [warehouse.send(event) for event in history] == [0, 0]
        assert read_events(warehouse) == before

    def test_two_snapshots_in_one_batch_are_one_event(self, warehouse: TargetHarness) -> None:
        touched = self.REJECTED | {"updated_at": LATER}
        warehouse.send(snapshot(**self.REJECTED).at(NOW, 2), snapshot(**touched).at(NOW, 3))
        assert read_events(warehouse) == [("REJECTED", NOW)]

    def test_snapshot_and_change_in_one_batch_are_one(self, warehouse: TargetHarness) -> None:
        touched = self.REJECTED | {"updated_at": LATER}
        warehouse.send(change_status("REJECTED").at(NOW, 2), snapshot(**touched).at(NOW, 3))
        assert read_events(warehouse) == [("REJECTED", NOW)]

    def test_concurrent_snapshot_and_change_are_one_event(self, warehouse: TargetHarness) -> None:
        """Both are routed before one is written: the second write finds the event of the first."""
        touched = self.REJECTED | {"updated_at": LATER}
        first = warehouse.batch(change_status("REJECTED").at(NOW, 2))
        second = warehouse.batch(snapshot(**touched).at(NOW, 3))
        for batch in (first, second):
            warehouse.waiting.hold(batch)
            warehouse.apply(batch)
        assert read_events(warehouse) == [("REJECTED", NOW)]


@pytest.mark.postgres
class TestRepeatedStatus:
    """An application reaches the same status a second time."""

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("between", ["UNDER_REVIEW", "REJECTED"])
    @pytest.mark.parametrize("approved", [SUBMITTED, APPROVED, None])
    def test_second_approval_is_written(
        self,
        warehouse: TargetHarness,
        between: str,
        approved: datetime | None,
        *,
        together: bool,
    ) -> None:
        """`approved_at` of the second approval is older, equal or missing."""
        middle = NOW + timedelta(minutes=1)
        was = ROW | {"status": "APPROVED", "approved_at": APPROVED, "updated_at": NOW}
        other = was | {"status": between, "updated_at": middle}
        steps = [
            change_status("APPROVED", approved_at=APPROVED).at(NOW, 2),
            update(was, status=between, updated_at=middle).at(middle, 3),
            update(other, status="APPROVED", approved_at=approved, updated_at=LATER).at(LATER, 4),
        ]
        for batch in [steps] if together else [[step] for step in steps]:
            warehouse.send(*batch)
        approvals = [event for event in read_events(warehouse) if event[0] == "APPROVED"]
        assert approvals == [("APPROVED", NOW), ("APPROVED", LATER)]
        times = [row["approval_timestamp"] for row in warehouse.rows(order="event_timestamp")]
        assert (times[0], times[-1]) == (APPROVED, approved or LATER)
