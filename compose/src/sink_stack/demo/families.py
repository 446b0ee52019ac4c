"""One family: its head, its members, where it lives and who of it uses the portal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from . import identities, names, places
from .draw import Draw

# Serials of a family's people, and of its applications, are taken from a range of its own.
SERIALS = 16
_MOST_MEMBERS = 8
_ADULT = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person as the warehouse knows it; `number` and `citizen_id` may be missing there."""

    serial: int
    gr_id: UUID
    head: bool
    number: str | None
    citizen_id: str | None
    first: str
    last: str
    hindi: str
    gender: str
    born: date
    age: int
    mobile: str
    email: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def adult(self) -> bool:
        return self.age >= _ADULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """People of one household; its id is the head's."""

    index: int
    district: int
    village: str
    pincode: str
    urban: bool
    people: Sequence[Person]
    registered: Sequence[Person]
    since: datetime

    @property
    def family_id(self) -> UUID:
        return self.people[0].gr_id

    @property
    def district_name(self) -> str:
        return places.DISTRICTS[self.district - 1][1]


def make(draw: Draw, seed: int, index: int) -> Family:
    """The family with this index."""
    district = draw.number(1, len(places.DISTRICTS))
    code, _, pincode = places.DISTRICTS[district - 1]
    surname = draw.one_of(names.SURNAMES)
    count = draw.weighted(((1, 8), (2, 14), (3, 20), (4, 26), (5, 18), (6, 9), (_MOST_MEMBERS, 5)))
    people = [_person(draw, seed, index, place, surname) for place in range(count)]
    adults = [person for person in people if person.adult and person.number]
    return Family(
        index=index,
        district=district,
        village=draw.one_of(places.VILLAGES),
        pincode=pincode,
        urban=code in places.URBAN,
        people=people,
        registered=adults[: draw.number(1, 3)] if draw.chance(60) else [],
        since=draw.ago(1000, at_least=100),
    )


def stranger(draw: Draw, seed: int, family: Family) -> Person:
    """A neighbour that only the portal has."""
    surname = draw.one_of(names.SURNAMES)
    return _person(draw, seed, family.index, SERIALS - 1, surname)


def _person(draw: Draw, seed: int, index: int, place: int, surname: tuple[str, str]) -> Person:
    serial = index * SERIALS + place
    gender = draw.weighted((("Male", 50), ("Female", 49), ("Other", 1)))
    first, first_hindi = draw.one_of(names.FEMALE if gender == "Female" else names.MALE)
    last, last_hindi = surname
    age = draw.number(24, 80) if place == 0 else draw.number(0, 75)
    born = (draw.as_of - timedelta(days=age * 365.25 + draw.number(1, 360))).date()
    head = place == 0
    return Person(
        serial=serial,
        gr_id=draw.uuid(),
        head=head,
        number=identities.aadhaar(serial, seed) if head or draw.chance(96) else None,
        citizen_id=identities.citizen_id(serial) if draw.chance(98) else None,
        first=first,
        last=last,
        hindi=f"{first_hindi} {last_hindi}",
        gender=gender,
        born=born,
        age=age,
        mobile=identities.mobile(serial, seed),
        email=identities.email(first, last, serial),
    )
