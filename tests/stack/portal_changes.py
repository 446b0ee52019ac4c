"""The scenario's changes in the portal, for flows 8 to 12; later changes build on the first."""

from dataclasses import dataclass

from .scenario_data import ScenarioData
from .warehouse_changes import LATE_SCHEME, ago

CITIZENS, APPLICATIONS = "public.citizens", "public.service_applications"
DOCUMENTS, FEEDBACK = "public.documents", "public.feedback"
GOLDEN = "public.golden_records"
_SCHEME = "SELECT id FROM schemes WHERE code = %s"
INVALID_ROWS = {"documents": 3, "applications": 1}
"""The number of rows of each mapping that break a rule."""


@dataclass(slots=True, kw_only=True)
class FirstKeys:
    """Keys of rows that the first changes wrote and later changes use."""

    corrected: str
    leaving: str
    applied: str
    withdrawn: str
    invalid: str
    feedback: list[str]
    unknown_number: str


def make_first_changes(data: ScenarioData) -> FirstKeys:
    leaving = data.insert_person()
    applied, withdrawn = change_applications(data, leaving)
    number = data.people.number()
    unknown = data.insert_account(number)
    data.insert_behaviour_event(unknown, ago(days=3))
    change_behaviour(data, leaving)
    return FirstKeys(
        corrected=change_citizens(data),
        leaving=leaving,
        applied=applied,
        withdrawn=withdrawn,
        invalid=change_documents(data, leaving, applied),
        feedback=change_feedback(data, leaving, applied),
        unknown_number=number,
    )


def change_citizens(data: ScenarioData) -> str:
    """Change citizens; return the key of one whose number is corrected later."""
    changed, corrected = data.insert_person(), data.insert_person()
    data.update(CITIZENS, ("id", changed), full_name="Asha Devi", email=None)
    data.update(CITIZENS, ("id", changed), last_login_at=ago())  # an unmapped column
    data.update(CITIZENS, ("id", changed), gender="female", district="Unknown")
    later = data.insert_account(data.people.number(), verification_status="pending")
    data.update(CITIZENS, ("id", later), city="Deeg")
    data.update(CITIZENS, ("id", later), verification_status="verified")
    data.insert_account(None)
    data.insert_account(data.people.number(), status="SUSPENDED")
    return corrected


def change_applications(data: ScenarioData, citizen: str) -> tuple[str, str]:
    key = data.citizen.execute(_SCHEME, ["NREGA"]).fetchone()
    late = data.citizen.execute(_SCHEME, [LATE_SCHEME]).fetchone()
    assert key is not None
    assert late is not None
    applied = data.insert_application(
        citizen, scheme_id=key[0], status="draft", submission_date=None
    )
    for status in ("Submitted", "SUBMITTED", "UNDER_REVIEW", "rejected"):
        columns = {"submission_date": ago(hours=1)} if status == "Submitted" else {}
        data.update(APPLICATIONS, ("id", applied), status=status, **columns)
    data.update(APPLICATIONS, ("id", applied), status="Approved")
    withdrawn = data.insert_application(
        citizen, scheme_id=late[0]
    )  # deferred until the warehouse has the scheme
    data.update(APPLICATIONS, ("id", withdrawn), status="APPROVED", approved_at=ago(minutes=5))
    data.insert_application(citizen, submission_date=None)  # breaks a rule
    with data.citizen.transaction():
        quick = data.insert_application(citizen)
        data.update(APPLICATIONS, ("id", quick), status="cancelled")
        data.delete(APPLICATIONS, ("id", quick))
    return applied, withdrawn


def change_documents(data: ScenarioData, citizen: str, application: str) -> str:
    """Change documents; return the key of one that breaks a rule and is corrected later."""
    data.insert_document(citizen, application_id=application)
    checked = data.insert_document(citizen)
    data.update(DOCUMENTS, ("id", checked), verification_status="verified")
    data.update(DOCUMENTS, ("id", checked), verification_notes="an unmapped column")
    data.delete(DOCUMENTS, ("id", data.insert_document(citizen)))
    data.insert_document(citizen, verification_status="LOST")  # breaks a rule
    return data.insert_document(citizen, file_size=-1)  # breaks another rule


def change_behaviour(data: ScenarioData, citizen: str) -> None:
    for day in (1, 1, 40):
        data.insert_behaviour_event(citizen, ago(days=day), duration_seconds="1.25")
    data.insert_behaviour_event(
        citizen, ago(), event_type="SEARCH_QUERY", properties={"query": "a name"}
    )


def change_feedback(data: ScenarioData, citizen: str, application: str) -> list[str]:
    late = data.insert_feedback(
        citizen, application_id=application, created_at="2001-01-01T00:00:00"
    )
    personal = "I am 012345678901, call 0123456789 or write to a.b@example.in."
    return [late, data.insert_feedback(citizen, message=personal, rating=1)]


def make_second_changes(data: ScenarioData, keys: FirstKeys) -> None:
    data.update(CITIZENS, ("id", keys.corrected), aadhaar_number=data.people.number())
    data.delete(CITIZENS, ("id", data.insert_person()))
    data.update(APPLICATIONS, ("id", keys.withdrawn), status="WITHDRAWN")
    data.delete(APPLICATIONS, ("id", keys.applied))
    data.update(DOCUMENTS, ("id", keys.invalid), file_size=1)
    for key in keys.feedback:
        data.update(FEEDBACK, ("id", key), status="CLOSED", rating=3, message="Otherwise")
    data.delete(FEEDBACK, ("id", keys.feedback[0]))
    late = data.insert_person()
    data.insert_feedback(late, created_at="2002-01-01T00:00:00")
    data.insert_behaviour_event(late, ago(days=40), duration_seconds="2")
    data.insert_behaviour_event(keys.leaving, ago(days=1), duration_seconds="3")
    # An official completes the golden record that the sink has created for the unknown number.
    data.update(GOLDEN, ("jan_aadhaar", keys.unknown_number), citizen_id="RJ99999999")


def make_third_changes(data: ScenarioData, keys: FirstKeys) -> None:
    """Delete a citizen, whose applications, decisions and behaviour are deleted by cascade.

    A document remains without its citizen; it broke a rule before and breaks it again.
    """
    data.delete(CITIZENS, ("id", keys.leaving))


def make_unmapped_changes(data: ScenarioData, keys: FirstKeys) -> None:
    """Change columns that no mapping reads."""
    data.update(CITIZENS, ("id", keys.corrected), last_login_at=ago())
    data.update(APPLICATIONS, ("id", keys.withdrawn), priority="LOW", status="withdrawn")


def make_changes_without_capture(data: ScenarioData, keys: FirstKeys) -> None:
    """Change the source of each streaming flow, in ways that a batch reads from the final rows."""
    citizen = data.insert_person()
    data.update(CITIZENS, ("id", keys.corrected), city="Sojat", email="new@example.in")
    application = data.insert_application(citizen, status="approved", approved_at=ago())
    data.update(
        APPLICATIONS, ("id", data.insert_application(citizen, status=None)), status="Withdrawn"
    )
    data.insert_document(citizen, application_id=application, verification_status="PENDING")
    data.delete(DOCUMENTS, ("id", keys.invalid))
