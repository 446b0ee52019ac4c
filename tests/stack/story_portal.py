"""The portal's part of the scenario, flows 8 to 12: what `first` begins, `second` ends."""

from dataclasses import dataclass

from .cast import Cast
from .story_warehouse import WAITED_FOR, ago

CITIZENS, APPLICATIONS = "public.citizens", "public.service_applications"
DOCUMENTS, FEEDBACK = "public.documents", "public.feedback"
GOLDEN = "public.golden_records"
_SCHEME = "SELECT id FROM schemes WHERE code = %s"
BROKEN = {"documents": 3, "applications": 1}
"""How many rows of each mapping break a rule."""


@dataclass(slots=True, kw_only=True)
class Begun:
    """What goes on in `second`."""

    corrected: str
    leaving: str
    applied: str
    withdrawn: str
    broken: str
    feedback: list[str]
    stranger: str


def first(cast: Cast) -> Begun:
    leaving = cast.person()
    applied, withdrawn = applications(cast, leaving)
    number = cast.people.number()
    stranger = cast.account(number)
    cast.click(stranger, ago(days=3))
    behaviour(cast, leaving)
    return Begun(
        corrected=citizens(cast),
        leaving=leaving,
        applied=applied,
        withdrawn=withdrawn,
        broken=documents(cast, leaving, applied),
        feedback=feedback(cast, leaving, applied),
        stranger=number,
    )


def citizens(cast: Cast) -> str:
    """Returns one whose number is to be corrected."""
    changed, corrected = cast.person(), cast.person()
    cast.update(CITIZENS, ("id", changed), full_name="Asha Devi", email=None)
    cast.update(CITIZENS, ("id", changed), last_login_at=ago())  # carries nothing
    cast.update(CITIZENS, ("id", changed), gender="female", district="Unknown")
    later = cast.account(cast.people.number(), verification_status="pending")
    cast.update(CITIZENS, ("id", later), city="Deeg")
    cast.update(CITIZENS, ("id", later), verification_status="verified")
    cast.account(None)
    cast.account(cast.people.number(), status="SUSPENDED")
    return corrected


def applications(cast: Cast, citizen: str) -> tuple[str, str]:
    key = cast.citizen.execute(_SCHEME, ["NREGA"]).fetchone()
    only_here = cast.citizen.execute(_SCHEME, [WAITED_FOR]).fetchone()
    assert key is not None
    assert only_here is not None
    applied = cast.apply(citizen, scheme_id=key[0], status="draft", submission_date=None)
    for status in ("Submitted", "SUBMITTED", "UNDER_REVIEW", "rejected"):
        columns = {"submission_date": ago(hours=1)} if status == "Submitted" else {}
        cast.update(APPLICATIONS, ("id", applied), status=status, **columns)
    cast.update(APPLICATIONS, ("id", applied), status="Approved")
    withdrawn = cast.apply(citizen, scheme_id=only_here[0])  # waits for the scheme
    cast.update(APPLICATIONS, ("id", withdrawn), status="APPROVED", approved_at=ago(minutes=5))
    cast.apply(citizen, submission_date=None)  # breaks a rule
    with cast.citizen.transaction():
        quick = cast.apply(citizen)
        cast.update(APPLICATIONS, ("id", quick), status="cancelled")
        cast.delete(APPLICATIONS, ("id", quick))
    return applied, withdrawn


def documents(cast: Cast, citizen: str, application: str) -> str:
    """Returns one that breaks a rule and is mended later."""
    cast.document(citizen, application_id=application)
    checked = cast.document(citizen)
    cast.update(DOCUMENTS, ("id", checked), verification_status="verified")
    cast.update(DOCUMENTS, ("id", checked), verification_notes="carries nothing")
    cast.delete(DOCUMENTS, ("id", cast.document(citizen)))
    cast.document(citizen, verification_status="LOST")  # breaks a rule
    return cast.document(citizen, file_size=-1)  # another


def behaviour(cast: Cast, citizen: str) -> None:
    for day in (1, 1, 40):
        cast.click(citizen, ago(days=day), duration_seconds="1.25")
    cast.click(citizen, ago(), event_type="SEARCH_QUERY", properties={"query": "a name"})


def feedback(cast: Cast, citizen: str, application: str) -> list[str]:
    late = cast.say(citizen, application_id=application, created_at="2001-01-01T00:00:00")
    personal = "I am 012345678901, call 0123456789 or write to a.b@example.in."
    return [late, cast.say(citizen, message=personal, rating=1)]


def second(cast: Cast, begun: Begun) -> None:
    cast.update(CITIZENS, ("id", begun.corrected), aadhaar_number=cast.people.number())
    cast.delete(CITIZENS, ("id", cast.person()))
    cast.update(APPLICATIONS, ("id", begun.withdrawn), status="WITHDRAWN")
    cast.delete(APPLICATIONS, ("id", begun.applied))
    cast.update(DOCUMENTS, ("id", begun.broken), file_size=1)
    for key in begun.feedback:
        cast.update(FEEDBACK, ("id", key), status="CLOSED", rating=3, message="Otherwise")
    cast.delete(FEEDBACK, ("id", begun.feedback[0]))
    late = cast.person()
    cast.say(late, created_at="2002-01-01T00:00:00")
    cast.click(late, ago(days=40), duration_seconds="2")
    cast.click(begun.leaving, ago(days=1), duration_seconds="3")
    # The stranger's record has been reviewed; later than its creation by the sink.
    cast.update(GOLDEN, ("jan_aadhaar", begun.stranger), citizen_id="RJ99999999")


def third(cast: Cast, begun: Begun) -> None:
    """Somebody leaves, and takes applications, documents, behaviour and decisions along.

    A document stays without its citizen; it broke a rule before and does so once more.
    """
    cast.delete(CITIZENS, ("id", begun.leaving))


def idle(cast: Cast, begun: Begun) -> None:
    """Changes of columns that nobody maps."""
    cast.update(CITIZENS, ("id", begun.corrected), last_login_at=ago())
    cast.update(APPLICATIONS, ("id", begun.withdrawn), priority="LOW", status="withdrawn")


def unseen(cast: Cast, begun: Begun) -> None:
    """Changes of every event flow, whose end tells all of them: a batch sees no more."""
    citizen = cast.person()
    cast.update(CITIZENS, ("id", begun.corrected), city="Sojat", email="new@example.in")
    application = cast.apply(citizen, status="approved", approved_at=ago())
    cast.update(APPLICATIONS, ("id", cast.apply(citizen, status=None)), status="Withdrawn")
    cast.document(citizen, application_id=application, verification_status="PENDING")
    cast.delete(DOCUMENTS, ("id", begun.broken))
