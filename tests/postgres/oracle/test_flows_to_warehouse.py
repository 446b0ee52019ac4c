"""Expected rows of flows 9 to 12, for histories small enough to check by hand."""

import pytest

from ...oracle.targets import compare_rows
from .conftest import uuid_of

pytestmark = pytest.mark.postgres
CITIZENS, GOLDEN = "public.citizens", "public.golden_records"
MASTER, SCHEMES = "public.scheme_master", "public.schemes"
APPLICATIONS, DOCUMENTS = "public.service_applications", "public.documents"
BEHAVIOR, FEEDBACK = "public.user_behavior_events", "public.feedback"
SUBMITTED, APPROVED = "2026-03-01T10:00:00", "2026-03-02T10:00:00"
NUMBER = "012345678901"


@pytest.fixture(autouse=True)
def citizen(databases):
    databases.insert(GOLDEN, gr_id=uuid_of("g"), jan_aadhaar=NUMBER, citizen_id="RJ1")
    databases.insert(CITIZENS, id=uuid_of("c"), aadhaar_number=NUMBER)
    databases.insert(MASTER, scheme_code="A")
    databases.insert(SCHEMES, id=uuid_of("A"), code="A")


class TestApplicationEvents:
    def submit(self, databases, **columns):
        databases.insert(
            APPLICATIONS,
            **{
                "id": uuid_of("app"),
                "citizen_id": uuid_of("c"),
                "submission_date": SUBMITTED,
                **columns,
            },
        )

    def update(self, databases, **columns):
        databases.update(APPLICATIONS, ("id", uuid_of("app")), **columns)

    def event_types(self, databases):
        return [key.split()[1] for key in databases.compute_rows("application_events")]

    def test_submission_event_has_submission_date(self, databases):
        self.submit(databases, status="Submitted", scheme_id=uuid_of("A"))
        assert databases.compute_rows("application_events") == {
            f"{uuid_of('app')} APPLICATION_SUBMITTED {SUBMITTED}": {
                "citizen_id": "RJ1", "scheme_code": "A", "approval_timestamp": None,
            }
        }  # fmt: skip

    def test_every_status_change_makes_event(self, databases):
        self.submit(databases, status="SUBMITTED")
        self.update(databases, status="rejected")
        self.update(databases, status="APPROVED", approved_at=APPROVED)
        rows = databases.compute_rows("application_events")
        (_, rejected, approved) = sorted(rows, key=lambda key: "SRA".index(key.split("_")[1][0]))
        assert SUBMITTED not in rejected
        assert not approved.endswith(APPROVED)  # the table itself sets updated_at
        assert rows[approved]["approval_timestamp"] == APPROVED

    def test_second_approval_with_earlier_time_makes_event(self, databases):
        self.submit(databases, status="APPROVED", updated_at=APPROVED, approved_at=APPROVED)
        self.update(databases, status="UNDER_REVIEW")
        self.update(databases, status="APPROVED", approved_at=SUBMITTED)
        rows = databases.compute_rows("application_events")
        assert min(rows).endswith(APPROVED)
        assert [rows[key]["approval_timestamp"] for key in sorted(rows)] == [APPROVED, SUBMITTED]

    def test_approval_without_time_has_time_of_change(self, databases):
        self.submit(databases, status="APPROVED", updated_at=APPROVED)
        (row,) = databases.compute_rows("application_events").values()
        assert row["approval_timestamp"] == APPROVED

    @pytest.mark.parametrize("status", ["UNDER_REVIEW", "COMPLETED", "PENDING_DOCS", "DRAFT", None])
    def test_other_statuses_make_no_event(self, databases, status):
        self.submit(databases, status=status)
        assert not self.event_types(databases)

    def test_change_of_case_or_column_makes_no_event(self, databases):
        self.submit(databases, status="submitted")
        self.update(databases, status="SUBMITTED", submission_date=APPROVED)
        assert self.event_types(databases) == ["APPLICATION_SUBMITTED"]

    def test_cancelled_application_is_withdrawn(self, databases):
        self.submit(databases, status="cancelled")
        assert self.event_types(databases) == ["APPLICATION_WITHDRAWN"]

    def test_events_remain_after_application_is_deleted(self, databases):
        self.submit(databases, status="SUBMITTED")
        databases.delete(CITIZENS, id=uuid_of("c"))
        (row,) = databases.compute_rows("application_events").values()
        assert row["citizen_id"] == "RJ1"

    def test_unknown_citizen_has_null_id(self, databases):
        databases.insert(CITIZENS, id=uuid_of("d"), aadhaar_number="1")
        self.submit(databases, citizen_id=uuid_of("d"), status="SUBMITTED")
        (row,) = databases.compute_rows("application_events").values()
        assert row["citizen_id"] is None

    def test_event_is_deferred_until_scheme_exists(self, databases):
        databases.insert(SCHEMES, id=uuid_of("OWN"), code="OWN")
        self.submit(databases, status="SUBMITTED", scheme_id=uuid_of("OWN"))
        assert not self.event_types(databases)


class TestDocumentMetadata:
    @pytest.fixture(autouse=True)
    def document(self, databases):
        databases.insert(APPLICATIONS, id=uuid_of("app"), citizen_id=uuid_of("c"))
        owned = {"application_id": uuid_of("app"), "citizen_id": uuid_of("c")}
        databases.insert(
            DOCUMENTS, id=uuid_of("doc"), document_name="a.pdf", uploaded_at=SUBMITTED, **owned
        )

    def row(self, databases):
        return databases.compute_rows("document_metadata")[uuid_of("doc")]

    def test_document_has_metadata(self, databases):
        assert self.row(databases) == {
            "citizen_id": "RJ1", "document_type": "PHOTO", "file_name": "a.pdf", "file_size": None,
            "uploaded_at": SUBMITTED, "verification_status": "PENDING", "is_deleted": False,
        }  # fmt: skip

    def test_deleted_document_stays_marked_as_deleted(self, databases):
        databases.delete(CITIZENS, id=uuid_of("c"))
        row = self.row(databases)
        assert (row["is_deleted"], row["file_name"]) == (True, "a.pdf")

    def test_citizen_id_is_kept_until_full_batch(self, databases):
        databases.update(GOLDEN, ("gr_id", uuid_of("g")), citizen_id="RJ2")
        assert self.row(databases)["citizen_id"] == "RJ1"
        databases.record_batch_run("document_metadata")
        databases.update(GOLDEN, ("gr_id", uuid_of("g")), citizen_id="RJ3")
        assert self.row(databases)["citizen_id"] == "RJ2"

    @pytest.mark.parametrize(
        ("written", "expected"),
        [("RJ1", "RJ1"), ("RJ2", "RJ2"), (None, None), ("RJ9", "RJ1")],
        ids=str,
    )
    def test_late_runner_may_write_later_citizen_id(self, databases, written, expected):
        """For an id that the citizen never had, the id at the event's time is expected."""
        databases.delete(GOLDEN, gr_id=uuid_of("g"))
        databases.insert(GOLDEN, gr_id=uuid_of("other"), jan_aadhaar=NUMBER, citizen_id="RJ2")
        databases.warehouse.execute(
            "INSERT INTO public.document_metadata "
            "(document_id, citizen_id, document_type, uploaded_at) VALUES (%s, %s, 'PHOTO', now())",
            (uuid_of("doc"), written),
        )
        assert self.row(databases)["citizen_id"] == expected

    def test_batch_skips_deleted_document(self, databases):
        databases.delete(DOCUMENTS, id=uuid_of("doc"))
        databases.update(GOLDEN, ("gr_id", uuid_of("g")), citizen_id="RJ2")
        databases.record_batch_run("document_metadata")
        assert self.row(databases)["citizen_id"] == "RJ1"

    @pytest.mark.parametrize("invalid", [{"file_size": -1}, {"verification_status": "LOST"}])
    def test_invalid_version_is_ignored(self, databases, invalid):
        databases.update(DOCUMENTS, ("id", uuid_of("doc")), document_name="b.pdf", **invalid)
        assert self.row(databases)["file_name"] == "a.pdf"


class TestUserBehavior:
    def insert_event(self, databases, when, citizen="c", **columns):
        databases.insert(BEHAVIOR, citizen_id=uuid_of(citizen), occurred_at=when, **columns)

    def rows(self, databases):
        databases.record_batch_run("user_behavior")
        return databases.compute_rows("user_behavior")

    def test_events_are_counted_by_citizen_type_day(self, databases):
        self.insert_event(databases, "2026-03-01T00:00:00", duration_seconds="1.5")
        self.insert_event(databases, "2026-03-01T23:59:59")
        self.insert_event(databases, "2026-03-02T00:00:00", event_type="SEARCH_QUERY")
        assert self.rows(databases) == {
            "RJ1 PAGE_VIEW 2026-03-01": {
                "event_count": 2, "total_duration_seconds": 1.5,
                "first_event_at": "2026-03-01T00:00:00", "last_event_at": "2026-03-01T23:59:59",
            },
            "RJ1 SEARCH_QUERY 2026-03-02": {
                "event_count": 1, "total_duration_seconds": 0,
                "first_event_at": "2026-03-02T00:00:00", "last_event_at": "2026-03-02T00:00:00",
            },
        }  # fmt: skip

    def test_unfinished_day_is_not_aggregated(self, databases):
        self.insert_event(databases, "2199-01-01")
        assert not self.rows(databases)

    def test_events_are_deferred_without_citizen_id(self, databases):
        databases.insert(CITIZENS, id=uuid_of("d"), aadhaar_number="1")
        self.insert_event(databases, "2026-03-01", citizen="d")
        assert not self.rows(databases)
        databases.insert(GOLDEN, jan_aadhaar="1", citizen_id="RJ2")
        assert list(self.rows(databases)) == ["RJ2 PAGE_VIEW 2026-03-01"]


class TestFeedbackAnalytics:
    def insert_feedback(self, databases, **columns):
        databases.insert(FEEDBACK, id=uuid_of("f"), citizen_id=uuid_of("c"), **columns)

    def rows(self, databases):
        return databases.compute_rows("feedback_analytics")

    def test_feedback_stays_as_first_run_read_it(self, databases):
        databases.insert(
            APPLICATIONS, id=uuid_of("a"), citizen_id=uuid_of("c"), scheme_id=uuid_of("A")
        )
        self.insert_feedback(
            databases, application_id=uuid_of("a"), rating=5, created_at="2001-01-01T00:00:00"
        )
        assert not self.rows(databases)
        databases.record_batch_run("feedback_analytics")
        databases.update(FEEDBACK, ("id", uuid_of("f")), rating=1, message="Otherwise")
        databases.record_batch_run("feedback_analytics")
        databases.delete(FEEDBACK, id=uuid_of("f"))
        assert self.rows(databases)[uuid_of("f")] == {
            "citizen_id": "RJ1", "feedback_type": "FEEDBACK", "rating": 5, "comment": "Well",
            "scheme_code": "A", "created_at": "2001-01-01T00:00:00",
        }  # fmt: skip

    def test_feedback_deleted_before_run_is_missing(self, databases):
        self.insert_feedback(databases)
        databases.delete(FEEDBACK, id=uuid_of("f"))
        databases.record_batch_run("feedback_analytics")
        assert not self.rows(databases)


def test_difference_has_no_value():
    expected = {"a": {"comment": "at 0123456789", "rating": 1}, "b": {}}
    right = {"a": {"comment": "at ***", "rating": 1, "synced_at": 0}, "b": {}}
    assert not list(compare_rows("feedback_analytics", expected, right))
    wrong = {"a": {"comment": "at 0123456789", "rating": 2}, "c": {}}
    assert sorted(map(str, compare_rows("feedback_analytics", expected, wrong))) == [
        "feedback_analytics a: comment differs",
        "feedback_analytics a: rating differs",
        "feedback_analytics b: missing row",
        "feedback_analytics c: extra row",
    ]
