"""The portal's flows 9 to 12 on the real stack: a change here is a change there."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer
from sink_stack.testing_stack import StackUnderTest

from .flow import Flow
from .running import eventually, row, running
from .writes import delete, insert, update

pytestmark = pytest.mark.stack

FLOWS = ("applications", "documents")
NUMBER, CITIZEN_ID = "090000000001", "RJ09000001"
TODAY = datetime.combine(datetime.now(UTC).date(), time.min)


@pytest.fixture(scope="module")
def flow(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    log = tmp_path_factory.mktemp("runner") / "log"
    only = ("--only", ",".join(FLOWS))
    with (
        running(stack.env, log, *only, mappings=len(FLOWS)),
        stack.admin("smart_warehouse") as warehouse,
        stack.admin("smart_citizen") as portal,
    ):
        consumer = KafkaConsumer(bootstrap_servers=stack.kafka)
        yield Flow(warehouse, portal, consumer, stack.env, target="warehouse")
        consumer.close()


@pytest.fixture(scope="module")
def ravi(flow: Flow) -> str:
    """A citizen whom the warehouse knows."""
    known = {"jan_aadhaar": NUMBER, "citizen_id": CITIZEN_ID}
    insert(flow.warehouse, "public.golden_records", known)
    return citizen(flow, NUMBER)


@pytest.fixture(scope="module")
def scheme(flow: Flow) -> str:
    """A scheme that both sides know."""
    return offered(flow, "P1", known=True)


def citizen(flow: Flow, number: str | None) -> str:
    key = str(uuid4())
    account = {"id": key, "aadhaar_number": number, "full_name": "Ravi", "mobile_number": "01"}
    insert(flow.portal, "public.citizens", account)
    return key


def offered(flow: Flow, code: str, *, known: bool) -> str:
    key = str(uuid4())
    insert(flow.portal, "public.schemes", {"id": key, "code": code, "name": "A scheme"})
    if known:
        learns(flow, code)
    return key


def learns(flow: Flow, code: str) -> None:
    listed = {"scheme_code": code, "scheme_name": "A scheme", "category": "FOOD"}
    insert(flow.warehouse, "public.scheme_master", listed)


class TestApplications:
    TABLE = "public.service_applications"
    TOPIC = f"smart_citizen.{TABLE}"

    def applies(self, flow: Flow, who: str, **columns: Any) -> str:
        key = str(uuid4())
        insert(
            flow.portal,
            self.TABLE,
            {"id": key, "citizen_id": who, "service_type": "S", **columns},
        )
        return key

    def becomes(self, flow: Flow, application: str, status: str, **columns: Any) -> None:
        update(flow.portal, self.TABLE, ("id", application), {"status": status, **columns})

    def events(self, flow: Flow, application: str) -> list[str]:
        query = (
            "SELECT event_type FROM decision.application_events WHERE application_id = %s "
            "ORDER BY event_timestamp, event_type DESC"
        )
        rows = flow.warehouse.execute(query.encode(), (application,)).fetchall()
        return [kind.removeprefix("APPLICATION_") for (kind,) in rows]

    def comes_to(self, flow: Flow, application: str, *events: str) -> None:
        eventually(lambda: self.events(flow, application) == list(events))

    def test_an_insert_is_an_event(self, flow: Flow, ravi: str, scheme: str) -> None:
        columns = {"scheme_id": scheme, "submission_date": "2026-01-02 03:04:05.678901"}
        application = self.applies(flow, ravi, **columns)
        flow.arrives(
            "decision.application_events",
            ("application_id", application),
            event_type="APPLICATION_SUBMITTED",
            citizen_id=CITIZEN_ID,
            scheme_code="P1",
            event_timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001 - naive UTC
            approval_timestamp=None,
        )

    def test_each_change_of_the_status_is_one_with_its_time(self, flow: Flow, ravi: str) -> None:
        application = self.applies(flow, ravi, status="draft", submission_date=None)
        self.becomes(flow, application, "Submitted", submission_date=TODAY)
        for status in ("SUBMITTED", "UNDER_REVIEW", "Approved", "APPROVED", "COMPLETED"):
            self.becomes(flow, application, status)
        self.becomes(flow, application, "cancelled")
        self.comes_to(flow, application, "SUBMITTED", "APPROVED", "WITHDRAWN")
        query = (
            "SELECT count(*) FROM decision.application_events WHERE application_id = %s "
            "AND event_timestamp > %s AND approval_timestamp IS NOT DISTINCT FROM "
            "CASE event_type WHEN 'APPLICATION_APPROVED' THEN event_timestamp END"
        )
        assert row(flow.warehouse, query, application, TODAY) == (2,)

    def test_two_changes_of_one_transaction_are_two(self, flow: Flow, ravi: str) -> None:
        with flow.portal.transaction():
            application = self.applies(flow, ravi)
            self.becomes(flow, application, "REJECTED")
        self.comes_to(flow, application, "SUBMITTED", "REJECTED")

    def test_a_delete_with_the_citizen_keeps_the_events(self, flow: Flow) -> None:
        who = citizen(flow, None)
        application = self.applies(flow, who)
        self.comes_to(flow, application, "SUBMITTED")
        with flow.applied(self.TOPIC):
            delete(flow.portal, "public.citizens", ("id", who))
        assert self.events(flow, application) == ["SUBMITTED"]

    def test_one_for_an_unknown_scheme_waits_for_it_in_order(self, flow: Flow, ravi: str) -> None:
        with flow.applied(self.TOPIC):
            own = offered(flow, "P2", known=False)
            application = self.applies(flow, ravi, scheme_id=own)
            self.becomes(flow, application, "WITHDRAWN")
        assert self.events(flow, application) == []
        learns(flow, "P2")
        self.comes_to(flow, application, "SUBMITTED", "WITHDRAWN")

    def test_a_batch_of_all_finds_nothing_new(self, flow: Flow, ravi: str) -> None:
        application = self.applies(flow, ravi, status="REJECTED")
        self.comes_to(flow, application, "REJECTED")
        with flow.applied(self.TOPIC):
            update(flow.portal, self.TABLE, ("id", application), {"assigned_to_dept": "X"})
        query = "SELECT count(*) FROM decision.application_events"
        before = row(flow.warehouse, query)
        flow.batch("applications", "--full")
        assert row(flow.warehouse, query) == before


class TestDocuments:
    TABLE = "public.documents"
    TARGET = "document_metadata"
    TOPIC = f"smart_citizen.{TABLE}"

    def hands_in(self, flow: Flow, who: str, **columns: Any) -> tuple[str, str]:
        key = str(uuid4())
        document = {"id": key, "citizen_id": who, "document_type": "PHOTO", "file_path": "/p"}
        document |= {"document_name": "p.png", "file_size": 7, **columns}
        insert(flow.portal, self.TABLE, document)
        return "document_id", key

    def test_a_document_arrives_and_its_check_too(self, flow: Flow, ravi: str) -> None:
        key = self.hands_in(flow, ravi)
        known = {"citizen_id": CITIZEN_ID, "file_name": "p.png", "file_size": 7}
        flow.arrives(self.TARGET, key, **known, verification_status="PENDING", is_deleted=False)
        update(flow.portal, self.TABLE, ("id", key[1]), {"verification_status": "VERIFIED"})
        flow.arrives(self.TARGET, key, **known, verification_status="VERIFIED", is_deleted=False)

    def test_what_leads_to_the_content_changes_nothing(self, flow: Flow, ravi: str) -> None:
        key = self.hands_in(flow, ravi)
        flow.arrives(self.TARGET, key, document_type="PHOTO")
        before = flow.holds(self.TARGET, key, "xmin::text")
        with flow.applied(self.TOPIC):
            update(flow.portal, self.TABLE, ("id", key[1]), {"verification_notes": "Blurred"})
        assert flow.holds(self.TARGET, key, "xmin::text") == before

    def test_a_deleted_document_is_marked(self, flow: Flow, ravi: str) -> None:
        key = self.hands_in(flow, ravi)
        flow.arrives(self.TARGET, key, is_deleted=False)
        delete(flow.portal, self.TABLE, ("id", key[1]))
        flow.arrives(self.TARGET, key, is_deleted=True, file_name="p.png")

    def test_one_that_goes_with_its_citizen_is_marked(self, flow: Flow) -> None:
        who, application = citizen(flow, None), str(uuid4())
        applied = {"id": application, "citizen_id": who, "service_type": "S"}
        insert(flow.portal, TestApplications.TABLE, applied)
        key = self.hands_in(flow, who, application_id=application)
        flow.arrives(self.TARGET, key, is_deleted=False, citizen_id=None)
        delete(flow.portal, "public.citizens", ("id", who))
        flow.arrives(self.TARGET, key, is_deleted=True)


class TestBehaviour:
    def does(self, flow: Flow, who: str, days: int, kind: str = "PAGE_VIEW") -> None:
        at = TODAY - timedelta(days=days) + timedelta(hours=1)
        event = {"citizen_id": who, "event_type": kind, "duration_seconds": "1.5"}
        insert(flow.portal, "public.user_behavior_events", {**event, "occurred_at": at})

    def counts(self, flow: Flow, citizen_id: str = CITIZEN_ID) -> list[tuple[str, int, int]]:
        """By type, days ago and number."""
        query = (
            "SELECT event_type, %s::date - event_date, event_count FROM analytics.user_behavior "
            "WHERE citizen_id = %s ORDER BY 2, 1"
        )
        return flow.warehouse.execute(query.encode(), (TODAY, citizen_id)).fetchall()

    def test_days_are_counted_once_and_late_events_in_their_own(
        self, flow: Flow, ravi: str
    ) -> None:
        for days in (1, 1, 2, 0):
            self.does(flow, ravi, days)
        flow.batch("user-behavior")
        assert self.counts(flow) == [("PAGE_VIEW", 1, 2), ("PAGE_VIEW", 2, 1)]
        flow.batch("user-behavior")
        assert self.counts(flow) == [("PAGE_VIEW", 1, 2), ("PAGE_VIEW", 2, 1)]
        self.does(flow, ravi, 2)
        self.does(flow, ravi, 40, "SEARCH_QUERY")
        flow.batch("user-behavior")
        expected = [("PAGE_VIEW", 1, 2), ("PAGE_VIEW", 2, 2), ("SEARCH_QUERY", 40, 1)]
        assert self.counts(flow) == expected

    def test_a_citizen_without_an_id_waits_for_one(self, flow: Flow) -> None:
        number, citizen_id = "090000000002", "RJ09000002"
        self.does(flow, citizen(flow, number), 3)
        flow.batch("user-behavior")
        assert self.counts(flow, citizen_id) == []
        known = {"jan_aadhaar": number, "citizen_id": citizen_id}
        insert(flow.warehouse, "public.golden_records", known)
        flow.batch("user-behavior")
        assert self.counts(flow, citizen_id) == [("PAGE_VIEW", 3, 1)]


class TestFeedback:
    def says(self, flow: Flow, who: str, message: str, **columns: Any) -> tuple[str, str]:
        key = str(uuid4())
        said = {"id": key, "citizen_id": who, "type": "RATING", "message": message, **columns}
        insert(flow.portal, "public.feedback", said)
        return "feedback_id", key

    def test_each_is_told_once_and_scrubbed(self, flow: Flow, ravi: str, scheme: str) -> None:
        table, application = "analytics.feedback_analytics", str(uuid4())
        applied = {"id": application, "citizen_id": ravi, "service_type": "S", "scheme_id": scheme}
        insert(flow.portal, TestApplications.TABLE, applied)
        first = self.says(flow, ravi, "Call 0123456789", application_id=application)
        flow.batch("feedback")
        told = flow.holds(table, first, "citizen_id", "comment", "scheme_code")
        assert told == (CITIZEN_ID, "Call ***MASKED***", "P1")
        update(flow.portal, "public.feedback", ("id", first[1]), {"message": "Else"})
        late = self.says(flow, ravi, "Late", created_at="2020-01-01", updated_at="2020-01-01")
        flow.batch("feedback")
        assert flow.holds(table, first, "comment") == ("Call ***MASKED***",)
        assert flow.holds(table, late, "comment") == ("Late",)


def test_nothing_became_a_dead_letter(flow: Flow) -> None:
    assert row(flow.warehouse, "SELECT count(*) FROM sink.dead_letter WHERE status = 'OPEN'") == (
        0,
    )
