"""Random changes of golden records while the sink runs."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from .people import People
from .writes import Action, Remember, delete, insert, update

TABLE = "public.golden_records"
_STATUSES = ("active", "ACTIVE", None, "inactive", "Merged", "active", "active")


@dataclass(slots=True, kw_only=True)
class GoldenLoad:
    """Changes golden records; deletes or renumbers only records that it has inserted itself.

    A record with a citizen must keep its number, and a record that others refer to its key.
    """

    people: People
    known: list[str]
    unmatched: list[str]
    """Numbers of records without a citizen; a citizen may register with one."""
    unknown: list[str] = field(default_factory=list)
    """Numbers of citizens without a golden record."""
    own: dict[str, bool] = field(default_factory=dict)
    """Records of this load, and whether the record is a head with members."""
    deleted: list[str] = field(default_factory=list)

    def actions(self) -> list[tuple[int, Action]]:
        return [
            (8, self.insert),
            (2, self.insert_family),
            (20, self.change),
            (5, self.change_unmapped),
            (8, self.change_status),
            (4, self.delete),
            (3, self.insert_again),
            (3, self.change_key),
            (3, self.correct_number),
            (5, self.change_several_times),
            (3, self.insert_and_delete),
            (3, self.insert_late),
            (4, self.change_record_of_sink),
            (3, self.roll_back),
        ]

    def insert(self, connection: psycopg.Connection) -> Remember:
        row = self._row()
        insert(connection, TABLE, row)
        return partial(self._remember, row["gr_id"])

    def insert_family(self, connection: psycopg.Connection) -> Remember:
        head, members = self._row(), [self._row() for _ in range(2)]
        insert(connection, TABLE, {**head, "family_id": None})
        for member in members:
            insert(connection, TABLE, {**member, "family_id": head["gr_id"]})

        def remember() -> None:
            for member in members:
                self._remember(member["gr_id"])
            self._remember(head["gr_id"], head=True)

        return remember

    def change(self, connection: psycopg.Connection) -> None:
        key = ("gr_id", self.people.one(self.known))
        update(connection, TABLE, key, self.people.golden_change())

    def change_unmapped(self, connection: psycopg.Connection) -> None:
        key = ("gr_id", self.people.one(self.known))
        update(connection, TABLE, key, {"age": self.people.random.randint(1, 90)})

    def change_status(self, connection: psycopg.Connection) -> None:
        key = ("gr_id", self.people.one(self.known))
        update(connection, TABLE, key, {"status": self.people.one(_STATUSES)})

    def delete(self, connection: psycopg.Connection) -> Remember | None:
        """Delete a record; the members of a deleted head lose their family_id."""
        gr_id = self._pick()
        if gr_id is None:
            return None
        delete(connection, TABLE, ("gr_id", gr_id))
        return partial(self._forget, gr_id)

    def insert_again(self, connection: psycopg.Connection) -> Remember | None:
        """Insert a deleted record again under its old key."""
        if not self.deleted:
            return None
        gr_id = self.people.one(self.deleted)
        insert(connection, TABLE, {**self._row(), "gr_id": gr_id, "updated_at": _now(connection)})

        def remember() -> None:
            self.deleted.remove(gr_id)
            self._remember(gr_id)

        return remember

    def change_key(self, connection: psycopg.Connection) -> Remember | None:
        gr_id, fresh = self._pick(), self.people.uuid()
        if gr_id is None or self.own[gr_id]:
            return None
        update(connection, TABLE, ("gr_id", gr_id), {"gr_id": fresh})

        def remember() -> None:
            self._forget(gr_id)
            self._remember(fresh)

        return remember

    def correct_number(self, connection: psycopg.Connection) -> None:
        if gr_id := self._pick():
            number = {"jan_aadhaar": self.people.number()}
            update(connection, TABLE, ("gr_id", gr_id), number)

    def change_several_times(self, connection: psycopg.Connection) -> None:
        """Change a few records several times in one transaction, with equal times."""
        for gr_id in self.people.random.sample(self.known, 2):
            for _ in range(self.people.random.randint(1, 3)):
                update(connection, TABLE, ("gr_id", gr_id), self.people.golden_change())

    def insert_and_delete(self, connection: psycopg.Connection) -> None:
        row = self._row()
        insert(connection, TABLE, row)
        update(connection, TABLE, ("gr_id", row["gr_id"]), self.people.golden_change())
        delete(connection, TABLE, ("gr_id", row["gr_id"]))

    def insert_late(self, connection: psycopg.Connection) -> Remember | None:
        """Insert the record of a citizen; it fails if the sink has already created one."""
        if not self.unknown:
            return None
        row = {**self._row(), "jan_aadhaar": self.people.one(self.unknown)}
        insert(connection, TABLE, row)
        return partial(self.known.append, row["gr_id"])

    def change_record_of_sink(self, connection: psycopg.Connection) -> None:
        if self.unknown:
            key = ("jan_aadhaar", self.people.one(self.unknown))
            update(connection, TABLE, key, self.people.golden_change())

    def roll_back(self, connection: psycopg.Connection) -> None:
        """Roll back changes, which must not reach the sink."""
        self.change(connection)
        insert(connection, TABLE, self._row())
        raise psycopg.Rollback

    def insert_known(self, connection: psycopg.Connection, number: str, time: str) -> str:
        """Insert a record with a time of the portal in source_updated_at."""
        row = {**self._row(), "jan_aadhaar": number, "source_updated_at": time}
        insert(connection, TABLE, row)
        return str(row["gr_id"])

    def _row(self) -> dict[str, Any]:
        people = self.people
        row = {
            "gr_id": people.uuid(),
            "jan_aadhaar": people.number() if people.chance(90) else None,
            "status": people.one(_STATUSES),
            **people.golden_values(),
        }
        if people.chance(15):
            row |= people.golden_change()
        if people.chance(10):
            row["updated_at"] = f"2025-{people.random.randint(1, 12):02}-01"  # too old to be copied
            row["created_at"] = row["updated_at"]
        return row

    def _pick(self) -> str | None:
        return self.people.one(list(self.own)) if self.own else None

    def _remember(self, gr_id: str, *, head: bool = False) -> None:
        self.known.append(gr_id)
        self.own[gr_id] = head

    def _forget(self, gr_id: str) -> None:
        self.known.remove(gr_id)
        del self.own[gr_id]
        self.deleted.append(gr_id)


def _now(connection: psycopg.Connection) -> Any:
    row = connection.execute("SELECT localtimestamp").fetchone()
    assert row is not None
    return row[0]
