"""What the oracle says about flows 9 to 12, on stories small enough to check by eye."""

import pytest

from ...oracle.twelve import compare
from .conftest import one

pytestmark = pytest.mark.postgres
CITIZENS, GOLDEN = "public.citizens", "public.golden_records"
MASTER, SCHEMES = "public.scheme_master", "public.schemes"
APPLICATIONS, DOCUMENTS = "public.service_applications", "public.documents"
BEHAVIOUR, FEEDBACK = "public.user_behavior_events", "public.feedback"
SUBMITTED, APPROVED = "2026-03-01T10:00:00", "2026-03-02T10:00:00"
NUMBER = "012345678901"


@pytest.fixture(autouse=True)
def citizen(told):
    told.insert(GOLDEN, gr_id=one("g"), jan_aadhaar=NUMBER, citizen_id="RJ1")
    told.insert(CITIZENS, id=one("c"), aadhaar_number=NUMBER)
    told.insert(MASTER, scheme_code="A")
    told.insert(SCHEMES, id=one("A"), code="A")


class TestApplicationEvents:
    def apply(self, told, **columns):
        told.insert(
            APPLICATIONS,
            **{"id": one("app"), "citizen_id": one("c"), "submission_date": SUBMITTED, **columns},
        )

    def change(self, told, **columns):
        told.update(APPLICATIONS, ("id", one("app")), **columns)

    def types(self, told):
        return [key.split()[1] for key in told.expected("application_events")]

    def test_a_submission_carries_its_own_time(self, told):
        self.apply(told, status="Submitted", scheme_id=one("A"))
        assert told.expected("application_events") == {
            f"{one('app')} APPLICATION_SUBMITTED {SUBMITTED}": {
                "citizen_id": "RJ1", "scheme_code": "A", "approval_timestamp": None,
            }
        }  # fmt: skip

    def test_every_status_change_is_an_event(self, told):
        self.apply(told, status="SUBMITTED")
        self.change(told, status="rejected")
        self.change(told, status="APPROVED", approved_at=APPROVED)
        found = told.expected("application_events")
        (_, rejected, approved) = sorted(found, key=lambda key: "SRA".index(key.split("_")[1][0]))
        assert SUBMITTED not in rejected
        assert not approved.endswith(APPROVED)  # the table itself sets updated_at
        assert found[approved]["approval_timestamp"] == APPROVED

    def test_second_approval_with_earlier_time_is_an_event(self, told):
        self.apply(told, status="APPROVED", updated_at=APPROVED, approved_at=APPROVED)
        self.change(told, status="UNDER_REVIEW")
        self.change(told, status="APPROVED", approved_at=SUBMITTED)
        found = told.expected("application_events")
        assert min(found).endswith(APPROVED)
        assert [found[key]["approval_timestamp"] for key in sorted(found)] == [APPROVED, SUBMITTED]

    def test_approval_without_time_has_that_of_its_change(self, told):
        self.apply(told, status="APPROVED", updated_at=APPROVED)
        (row,) = told.expected("application_events").values()
        assert row["approval_timestamp"] == APPROVED

    @pytest.mark.parametrize("status", ["UNDER_REVIEW", "COMPLETED", "PENDING_DOCS", "DRAFT", None])
    def test_other_states_make_no_event(self, told, status):
        self.apply(told, status=status)
        assert not self.types(told)

    def test_neither_does_another_case_nor_another_column(self, told):
        self.apply(told, status="submitted")
        self.change(told, status="SUBMITTED", submission_date=APPROVED)
        assert self.types(told) == ["APPLICATION_SUBMITTED"]

    def test_cancelled_and_withdrawn_are_one(self, told):
        self.apply(told, status="cancelled")
        assert self.types(told) == ["APPLICATION_WITHDRAWN"]

    def test_events_outlive_their_application_and_its_citizen(self, told):
        self.apply(told, status="SUBMITTED")
        told.delete(CITIZENS, id=one("c"))
        (row,) = told.expected("application_events").values()
        assert row["citizen_id"] == "RJ1"

    def test_one_whom_warehouse_does_not_know_is_null(self, told):
        told.insert(CITIZENS, id=one("d"), aadhaar_number="1")
        self.apply(told, citizen_id=one("d"), status="SUBMITTED")
        (row,) = told.expected("application_events").values()
        assert row["citizen_id"] is None

    def test_event_waits_for_scheme_in_warehouse(self, told):
        told.insert(SCHEMES, id=one("OWN"), code="OWN")
        self.apply(told, status="SUBMITTED", scheme_id=one("OWN"))
        assert not self.types(told)


class TestDocumentMetadata:
    @pytest.fixture(autouse=True)
    def document(self, told):
        told.insert(APPLICATIONS, id=one("app"), citizen_id=one("c"))
        owned = {"application_id": one("app"), "citizen_id": one("c")}
        told.insert(DOCUMENTS, id=one("doc"), document_name="a.pdf", uploaded_at=SUBMITTED, **owned)

    def row(self, told):
        return told.expected("document_metadata")[one("doc")]

    def test_metadata_arrive(self, told):
        assert self.row(told) == {
            "citizen_id": "RJ1", "document_type": "PHOTO", "file_name": "a.pdf", "file_size": None,
            "uploaded_at": SUBMITTED, "verification_status": "PENDING", "is_deleted": False,
        }  # fmt: skip

    def test_what_goes_with_its_citizen_stays_marked(self, told):
        told.delete(CITIZENS, id=one("c"))
        row = self.row(told)
        assert (row["is_deleted"], row["file_name"]) == (True, "a.pdf")

    def test_id_is_kept_until_full_batch(self, told):
        told.update(GOLDEN, ("gr_id", one("g")), citizen_id="RJ2")
        assert self.row(told)["citizen_id"] == "RJ1"
        told.run("document_metadata")
        told.update(GOLDEN, ("gr_id", one("g")), citizen_id="RJ3")
        assert self.row(told)["citizen_id"] == "RJ2"

    @pytest.mark.parametrize(
        ("found", "wanted"), [("RJ1", "RJ1"), ("RJ2", "RJ2"), (None, None), ("RJ9", "RJ1")], ids=str
    )
    def test_runner_may_be_late_and_find_later_id(self, told, found, wanted):
        """But none that the citizen never had since."""
        told.delete(GOLDEN, gr_id=one("g"))
        told.insert(GOLDEN, gr_id=one("other"), jan_aadhaar=NUMBER, citizen_id="RJ2")
        told.warehouse.execute(
            "INSERT INTO public.document_metadata "
            "(document_id, citizen_id, document_type, uploaded_at) VALUES (%s, %s, 'PHOTO', now())",
            (one("doc"), found),
        )
        assert self.row(told)["citizen_id"] == wanted

    def test_batch_asks_for_no_document_that_is_gone(self, told):
        told.delete(DOCUMENTS, id=one("doc"))
        told.update(GOLDEN, ("gr_id", one("g")), citizen_id="RJ2")
        told.run("document_metadata")
        assert self.row(told)["citizen_id"] == "RJ1"

    @pytest.mark.parametrize("broken", [{"file_size": -1}, {"verification_status": "LOST"}])
    def test_version_that_breaks_rule_is_set_aside(self, told, broken):
        told.update(DOCUMENTS, ("id", one("doc")), document_name="b.pdf", **broken)
        assert self.row(told)["file_name"] == "a.pdf"


class TestUserBehavior:
    def event(self, told, when, citizen="c", **columns):
        told.insert(BEHAVIOUR, citizen_id=one(citizen), occurred_at=when, **columns)

    def rows(self, told):
        told.run("user_behavior")
        return told.expected("user_behavior")

    def test_events_count_by_citizen_type_and_day(self, told):
        self.event(told, "2026-03-01T00:00:00", duration_seconds="1.5")
        self.event(told, "2026-03-01T23:59:59")
        self.event(told, "2026-03-02T00:00:00", event_type="SEARCH_QUERY")
        assert self.rows(told) == {
            "RJ1 PAGE_VIEW 2026-03-01": {
                "event_count": 2, "total_duration_seconds": 1.5,
                "first_event_at": "2026-03-01T00:00:00", "last_event_at": "2026-03-01T23:59:59",
            },
            "RJ1 SEARCH_QUERY 2026-03-02": {
                "event_count": 1, "total_duration_seconds": 0,
                "first_event_at": "2026-03-02T00:00:00", "last_event_at": "2026-03-02T00:00:00",
            },
        }  # fmt: skip

    def test_running_day_is_left_to_next_run(self, told):
        self.event(told, "2199-01-01")
        assert not self.rows(told)

    def test_one_without_an_id_waits(self, told):
        told.insert(CITIZENS, id=one("d"), aadhaar_number="1")
        self.event(told, "2026-03-01", citizen="d")
        assert not self.rows(told)
        told.insert(GOLDEN, jan_aadhaar="1", citizen_id="RJ2")
        assert list(self.rows(told)) == ["RJ2 PAGE_VIEW 2026-03-01"]


class TestFeedbackAnalytics:
    def say(self, told, **columns):
        told.insert(FEEDBACK, id=one("f"), citizen_id=one("c"), **columns)

    def rows(self, told):
        return told.expected("feedback_analytics")

    def test_it_is_told_as_first_run_found_it(self, told):
        told.insert(APPLICATIONS, id=one("a"), citizen_id=one("c"), scheme_id=one("A"))
        self.say(told, application_id=one("a"), rating=5, created_at="2001-01-01T00:00:00")
        assert not self.rows(told)
        told.run("feedback_analytics")
        told.update(FEEDBACK, ("id", one("f")), rating=1, message="Otherwise")
        told.run("feedback_analytics")
        told.delete(FEEDBACK, id=one("f"))
        assert self.rows(told)[one("f")] == {
            "citizen_id": "RJ1", "feedback_type": "FEEDBACK", "rating": 5, "comment": "Well",
            "scheme_code": "A", "created_at": "2001-01-01T00:00:00",
        }  # fmt: skip

    def test_what_no_run_saw_is_not_there(self, told):
        self.say(told)
        told.delete(FEEDBACK, id=one("f"))
        told.run("feedback_analytics")
        assert not self.rows(told)


def test_a_difference_is_named_without_a_value():
    wanted = {"a": {"comment": "at 0123456789", "rating": 1}, "b": {}}
    right = {"a": {"comment": "at ***", "rating": 1, "synced_at": 0}, "b": {}}
    assert not list(compare("feedback_analytics", wanted, right))
    wrong = {"a": {"comment": "at 0123456789", "rating": 2}, "c": {}}
    assert sorted(map(str, compare("feedback_analytics", wanted, wrong))) == [
        "feedback_analytics a: comment differs",
        "feedback_analytics a: rating differs",
        "feedback_analytics b: row missing",
        "feedback_analytics c: row too many",
    ]
