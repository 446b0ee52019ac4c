"""Random changes of the portal's citizens while the sink runs."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from .people import People
from .writes import Action, Remember, delete, insert, update

TABLE = "public.citizens"
_VERIFIED = ("VERIFIED", "verified", "Verified")
_UNVERIFIED = ("PENDING", "REJECTED", None)
_ACTIVE = ("ACTIVE", "active", "VERIFIED")
_INACTIVE = ("SUSPENDED", "INACTIVE", None)


@dataclass(slots=True, kw_only=True)
class Account:
    """The state of a citizen that later changes depend on."""

    number: str | None
    verified: bool
    active: bool
    has_fixed_number: bool = False
    """Whether the number must not change, because a golden record competes with the citizen."""


@dataclass(slots=True, kw_only=True)
class CitizenLoad:
    """Uses each number once, except for a citizen who registers again with every column.

    The changes of two citizens reach the sink in any order. If they share a number, the later one
    must set every column, or the result would depend on that order.
    """

    people: People
    accounts: dict[str, Account]
    unmatched: list[str]
    """Numbers of golden records without a citizen; shared with the load of the warehouse."""
    unknown: list[str]
    """Numbers of citizens without a golden record; shared likewise."""
    deleted: list[tuple[str, str]] = field(default_factory=list)
    """Deleted citizens and their numbers."""
    initial: frozenset[str] = field(init=False)
    """Citizens from before the load."""

    def __post_init__(self) -> None:
        self.initial = frozenset(self.accounts)

    def actions(self) -> list[tuple[int, Action]]:
        return [
            (8, self.register),
            (24, self.change),
            (5, self.change_unmapped),
            (7, self.change_verification),
            (5, self.change_activation),
            (5, self.correct_number),
            (3, self.delete),
            (3, self.register_again),
            (5, self.change_several_times),
            (2, self.register_and_delete),
            (2, self.roll_back),
        ]

    def register(self, connection: psycopg.Connection) -> Remember:
        number = self._fresh_number() if self.people.chance(92) else None
        verified, active = self.people.chance(75), self.people.chance(90)
        account = Account(number=number, verified=verified, active=active)
        key, row = self.people.uuid(), self._row(account)
        if self.people.chance(30):
            row |= self.people.citizen_change()
        insert(connection, TABLE, {"id": key, **row})
        return partial(self._remember, key, account)

    def change(self, connection: psycopg.Connection) -> None:
        update(connection, TABLE, ("id", self._pick()), self.people.citizen_change())

    def change_unmapped(self, connection: psycopg.Connection) -> None:
        row = {"last_login_at": "2026-01-01", "address_line1": self.people.name()}
        update(connection, TABLE, ("id", self._pick()), row)

    def change_verification(self, connection: psycopg.Connection) -> Remember:
        key = self._pick()
        verified = self.people.chance(70)
        state = self.people.one(_VERIFIED if verified else _UNVERIFIED)
        update(connection, TABLE, ("id", key), {"verification_status": state})
        return partial(setattr, self.accounts[key], "verified", verified)

    def change_activation(self, connection: psycopg.Connection) -> Remember:
        key = self._pick()
        active = self.people.chance(70)
        state = self.people.one(_ACTIVE if active else _INACTIVE)
        update(connection, TABLE, ("id", key), {"status": state})
        return partial(setattr, self.accounts[key], "active", active)

    def correct_number(self, connection: psycopg.Connection) -> Remember | None:
        key = self._pick()
        account = self.accounts[key]
        if account.has_fixed_number or account.number is None:
            return None
        number = self._fresh_number()
        update(connection, TABLE, ("id", key), {"aadhaar_number": number})
        fresh = Account(number=number, verified=account.verified, active=account.active)
        return partial(self._remember, key, fresh)

    def delete(self, connection: psycopg.Connection) -> Remember | None:
        key = self._pick()
        account = self.accounts[key]
        if account.has_fixed_number or account.number is None:
            return None
        delete(connection, TABLE, ("id", key))

        def remember() -> None:
            del self.accounts[key]
            self.deleted.append((key, str(account.number)))

        return remember

    def register_again(self, connection: psycopg.Connection) -> Remember | None:
        """Insert a citizen with a deleted one's number, under the old id or a new one."""
        if not self.deleted:
            return None
        one = self.people.one(self.deleted)
        key, number = one
        # Rows that referred to an initial citizen were deleted with it, so it gets a new id.
        if key in self.initial or not self.people.chance(50):
            key = self.people.uuid()
        account = Account(number=number, verified=True, active=True)
        insert(connection, TABLE, {"id": key, **self._row(account)})

        def remember() -> None:
            self.deleted.remove(one)
            self._remember(key, account)

        return remember

    def change_several_times(self, connection: psycopg.Connection) -> None:
        """Several changes in one transaction carry the same time."""
        key = self._pick()
        for _ in range(self.people.random.randint(2, 4)):
            update(connection, TABLE, ("id", key), self.people.citizen_change())

    def register_and_delete(self, connection: psycopg.Connection) -> Remember:
        account = Account(number=self.people.number(), verified=True, active=True)
        key = self.people.uuid()
        insert(connection, TABLE, {"id": key, **self._row(account)})
        update(connection, TABLE, ("id", key), {"city": "Deeg"})
        delete(connection, TABLE, ("id", key))
        return partial(self.deleted.append, (key, str(account.number)))

    def roll_back(self, connection: psycopg.Connection) -> None:
        self.change(connection)
        self.delete(connection)
        raise psycopg.Rollback

    def register_known(self, connection: psycopg.Connection, number: str, time: str) -> None:
        """Insert a citizen whose golden record exists and has its own source time."""
        account = Account(number=number, verified=True, active=True, has_fixed_number=True)
        key = self.people.uuid()
        times = {"created_at": time, "updated_at": time}
        insert(connection, TABLE, {"id": key, **times, **self._row(account)})
        self._remember(key, account)

    def _row(self, account: Account) -> dict[str, Any]:
        choose = self.people.one
        return {
            "aadhaar_number": account.number,
            "verification_status": choose(_VERIFIED if account.verified else _UNVERIFIED),
            "status": choose(_ACTIVE if account.active else _INACTIVE),
            **self.people.citizen_values(),
        }

    def _fresh_number(self) -> str:
        """Return the number of a golden record without a citizen, or an unknown one.

        A number is not reused if its transaction fails.
        """
        if self.unmatched and self.people.chance(50):
            index = self.people.random.randrange(len(self.unmatched))
            return self.unmatched.pop(index)
        self.unknown.append(self.people.number())
        return self.unknown[-1]

    def _remember(self, key: str, account: Account) -> None:
        self.accounts[key] = account

    def _pick(self) -> str:
        return self.people.one(list(self.accounts))
