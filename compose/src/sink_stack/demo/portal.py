"""What smart_citizen holds about the people of one family who use it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from . import identities, places
from .draw import Draw
from .families import SERIALS, Family, Person
from .schemes import SCHEMES, Scheme

Row = dict[str, Any]

VERIFICATIONS = (("VERIFIED", 72), ("PENDING", 20), ("REJECTED", 8))
ACCOUNTS = (("ACTIVE", 88), ("VERIFIED", 6), ("INACTIVE", 4), ("SUSPENDED", 2))
STATUSES = (
    ("SUBMITTED", 26),
    ("UNDER_REVIEW", 20),
    ("APPROVED", 20),
    ("REJECTED", 9),
    ("COMPLETED", 8),
    ("CANCELLED", 4),
    ("WITHDRAWN", 4),
    ("PENDING_DOCS", 5),
    (_DRAFT := "DRAFT", 4),
)
DOCUMENTS = ("JAN_AADHAAR", "INCOME_CERTIFICATE", "CASTE_CERTIFICATE", "BANK_PASSBOOK", "PHOTO")
CHECKED = (("PENDING", 40), ("VERIFIED", 45), ("REJECTED", 12), ("EXPIRED", 3))
BEHAVIOUR = (
    ("PAGE_VIEW", 45),
    ("SCHEME_CLICK", 20),
    ("ELIGIBILITY_CHECK", 10),
    ("APPLICATION_START", 7),
    ("APPLICATION_COMPLETE", 4),
    ("DOCUMENT_UPLOAD", 6),
    ("SEARCH_QUERY", 8),
)
FEEDBACK = (("FEEDBACK", 35), ("COMPLAINT", 25), ("SUGGESTION", 15), ("RATING", 25))
MESSAGES = (
    "The form was easy to fill in.",
    "It takes too long.",
    "Please call me on {mobile}.",
    "My number is {number}, please check it.",
    "Write to {email} with the result.",
)
_APPROVED = frozenset({"APPROVED", "COMPLETED"})
_MOST_APPLICATIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Citizen:
    """A person's account in the portal."""

    id: UUID
    person: Person
    verification: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    id: UUID
    number: str
    citizen: Citizen
    scheme: Scheme | None
    status: str
    submitted: datetime
    changed: datetime

    @property
    def draft(self) -> bool:
        return self.status == _DRAFT

    @property
    def scheme_code(self) -> str | None:
        return self.scheme.code if self.scheme else None


def accounts(draw: Draw, family: Family, strangers: Sequence[Person]) -> list[Citizen]:
    """The accounts of a family's registered people, and of strangers to the warehouse."""
    return [
        Citizen(
            id=draw.uuid(),
            person=person,
            verification=draw.weighted(VERIFICATIONS),
            since=draw.after(family.since, 600),
        )
        for person in (*family.registered, *strangers)
    ]


def citizens(draw: Draw, family: Family, found: Sequence[Citizen]) -> Iterator[Row]:
    for citizen in found:
        person = citizen.person
        yield {
            "id": citizen.id,
            "aadhaar_number": person.number,
            "mobile_number": person.mobile,
            "email": person.email if draw.chance(60) else None,
            "full_name": person.name,
            "full_name_hindi": person.hindi if draw.chance(80) else None,
            "date_of_birth": person.born,
            "gender": person.gender.upper(),
            "address_line1": f"House {draw.number(1, 400)}, Ward {draw.number(1, 40)}",
            "city": family.village,
            "district": _spelling(draw, family.district_name),
            "pincode": family.pincode,
            "status": draw.weighted(ACCOUNTS),
            "verification_status": citizen.verification,
            "last_login_at": draw.ago(30),
            "created_at": citizen.since,
            "updated_at": draw.after(citizen.since, 600),
        }


def identity_map(family: Family, found: Sequence[Citizen]) -> Iterator[Row]:
    """The portal knows the family of citizens that it has verified."""
    for citizen in found:
        if citizen.verification == "VERIFIED" and citizen.person in family.registered:
            yield {
                "citizen_id": citizen.id,
                "gr_id": citizen.person.gr_id,
                "family_id": family.family_id,
                "warehouse_citizen_id": citizen.person.citizen_id,
                "is_family_head": citizen.person.head,
                "updated_at": citizen.since,
            }


def apply(draw: Draw, family: Family, found: Sequence[Citizen]) -> list[Application]:
    """What the citizens applied for; numbers come from the family's own range."""
    made: list[Application] = []
    for citizen in found:
        for _ in range(draw.number(0, _MOST_APPLICATIONS)):
            submitted = draw.after(citizen.since, 600)
            serial = family.index * SERIALS + len(made) + 1
            made.append(
                Application(
                    id=draw.uuid(),
                    number=f"APP-{submitted:%Y%m%d}-{serial:06d}",
                    citizen=citizen,
                    scheme=draw.one_of(SCHEMES) if draw.chance(90) else None,
                    status=draw.weighted(STATUSES),
                    submitted=submitted,
                    changed=draw.after(submitted, 30),
                )
            )
    return made


def applications(draw: Draw, made: Sequence[Application]) -> Iterator[Row]:
    for application in made:
        scheme = application.scheme
        yield {
            "id": application.id,
            "application_number": application.number,
            "citizen_id": application.citizen.id,
            "scheme_id": scheme.portal_id if scheme else None,
            "service_type": "SCHEME_APPLICATION" if scheme else "GENERAL_SERVICE",
            "subject": f"Application for {scheme.name}" if scheme else "General request",
            "priority": draw.weighted((("NORMAL", 80), ("HIGH", 12), ("LOW", 5), ("URGENT", 3))),
            "status": application.status,
            "current_stage": application.status,
            "submission_date": None if application.draft else application.submitted,
            "application_data": json.dumps({"step": draw.number(1, 5)}),
            "created_at": application.submitted,
            "updated_at": application.changed,
            "approved_at": application.changed if application.status in _APPROVED else None,
        }


def documents(draw: Draw, made: Sequence[Application]) -> Iterator[Row]:
    for application in made:
        for kind in draw.some(DOCUMENTS, draw.number(0, 2)):
            uploaded = draw.after(application.submitted, 3)
            yield {
                "id": draw.uuid(),
                "application_id": application.id,
                "citizen_id": application.citizen.id,
                "document_type": kind,
                "document_name": f"{kind.lower()}.pdf",
                "file_path": f"/documents/{application.number}/{kind.lower()}.pdf",
                "file_size": draw.number(20_000, 4_000_000),
                "mime_type": "application/pdf",
                "verification_status": draw.weighted(CHECKED),
                "uploaded_at": uploaded,
                "created_at": uploaded,
                "updated_at": draw.after(uploaded, 20),
            }


def behaviour(draw: Draw, found: Sequence[Citizen]) -> Iterator[Row]:
    """Events of the last week, most of them of yesterday and the day before."""
    for citizen in found:
        for _ in range(draw.number(2, 10)):
            kind = draw.weighted(BEHAVIOUR)
            query = {"query": f"pension {citizen.person.last}"}
            yield {
                "citizen_id": citizen.id,
                "event_type": kind,
                "duration_seconds": draw.score(0, 300)[:-1] if draw.chance(80) else None,
                "properties": json.dumps(query) if kind == "SEARCH_QUERY" else None,
                "occurred_at": draw.ago(2) if draw.chance(70) else draw.ago(7),
            }


def feedback(draw: Draw, found: Sequence[Citizen], made: Sequence[Application]) -> Iterator[Row]:
    for citizen in found:
        if not draw.chance(25):
            continue
        own = [application for application in made if application.citizen is citizen]
        person, moment = citizen.person, draw.after(citizen.since, 600)
        number = person.number or identities.aadhaar(person.serial, 0)
        yield {
            "id": draw.uuid(),
            "citizen_id": citizen.id,
            "application_id": draw.one_of(own).id if own and draw.chance(70) else None,
            "type": draw.weighted(FEEDBACK),
            "category": draw.one_of(("APPLICATION", "SCHEME", "DOCUMENT", "SERVICE", "OTHER")),
            "message": draw.one_of(MESSAGES).format(
                mobile=person.mobile, number=number, email=person.email
            ),
            "rating": draw.number(1, 5) if draw.chance(70) else None,
            "status": draw.weighted((("OPEN", 60), ("IN_PROGRESS", 20), ("RESOLVED", 20))),
            "created_at": moment,
            "updated_at": draw.after(moment, 20),
        }


def _spelling(draw: Draw, name: str) -> str:
    """A district as a citizen would type it."""
    others = places.SPELLINGS.get(name, ())
    if draw.chance(2):
        return draw.one_of(places.UNKNOWN)
    if others and draw.chance(50):
        return draw.one_of(others)
    return name.upper() if draw.chance(20) else name
