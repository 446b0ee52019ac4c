"""Random eligibility evaluations while the sink runs."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg

from .people import People
from .writes import Action, Remember, column, delete, insert, update

TABLE = "eligibility.eligibility_snapshots"
_STATUSES = ("RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE") * 3 + ("NOT_ELIGIBLE", "UNCERTAIN", "ERROR")
# Ties, values that are rounded, and NULL.
_SCORES = (None, Decimal("0.5"), Decimal("0.125"), Decimal("0.505"), Decimal(0), Decimal(1))
_NEXT = "SELECT nextval('eligibility.eligibility_snapshots_snapshot_id_seq')"
_DAY = 86_400


@dataclass(slots=True, kw_only=True)
class SnapshotLoad:
    """Evaluates a few families often, so that their five best schemes keep changing."""

    people: People
    families: list[str]
    schemes: list[str]
    known: list[int]

    def actions(self) -> list[tuple[int, Action]]:
        return [
            (24, self.evaluate),
            (4, self.evaluate_family),
            (3, self.evaluate_twice),
            (5, self.load_old),
            (5, self.evaluate_in_place),
            (8, self.delete),
            (3, self.change_id),
            (2, self.insert_and_delete),
            (2, self.roll_back),
        ]

    def evaluate(self, connection: psycopg.Connection) -> Remember:
        return self._insert(connection, [self._row()])

    def evaluate_family(self, connection: psycopg.Connection) -> Remember:
        """Evaluate every scheme for a family in one transaction."""
        family = self.people.one(self.families)
        rows = [{**self._row(), "family_id": family, "scheme_code": code} for code in self.schemes]
        return self._insert(connection, rows)

    def evaluate_twice(self, connection: psycopg.Connection) -> Remember:
        """Insert two evaluations with equal time, which differ in their version."""
        first = self._row()
        again = {**first, **self._decision(), "evaluation_version": 2}
        return self._insert(connection, self.people.random.sample([first, again], 2))

    def load_old(self, connection: psycopg.Connection) -> Remember:
        """Insert a late evaluation, inside or outside the window of thirty days."""
        days = self.people.one((2, 10, 28, 32, 60))
        return self._insert(connection, [{**self._row(), "age": days * _DAY}])

    def evaluate_in_place(self, connection: psycopg.Connection) -> None:
        row = {**self._decision(), "evaluation_timestamp": _ago(connection, 0)}
        update(connection, TABLE, ("snapshot_id", self._pick()), row)

    def delete(self, connection: psycopg.Connection) -> Remember:
        number = self._pick()
        delete(connection, TABLE, ("snapshot_id", number))
        return partial(self.known.remove, number)

    def change_id(self, connection: psycopg.Connection) -> Remember:
        number, (fresh,) = self._pick(), column(connection, _NEXT)
        update(connection, TABLE, ("snapshot_id", number), {"snapshot_id": fresh})

        def remember() -> None:
            self.known.remove(number)
            self.known.append(fresh)

        return remember

    def insert_and_delete(self, connection: psycopg.Connection) -> None:
        (number,) = column(connection, _NEXT)
        row = {**self._row(), "snapshot_id": number}
        self._insert(connection, [row])
        delete(connection, TABLE, ("snapshot_id", number))

    def roll_back(self, connection: psycopg.Connection) -> None:
        self.evaluate_family(connection)
        raise psycopg.Rollback

    def _insert(self, connection: psycopg.Connection, rows: list[dict[str, Any]]) -> Remember:
        numbers = []
        for row in rows:
            (number,) = column(connection, _NEXT)
            snapshot = {"snapshot_id": number, **row}
            snapshot["evaluation_timestamp"] = _ago(connection, snapshot.pop("age", 0))
            insert(connection, TABLE, snapshot)
            numbers.append(number)
        return partial(self.known.extend, numbers)

    def _row(self) -> dict[str, Any]:
        people = self.people
        family = people.one(self.families)
        return {
            "family_id": family,
            "member_id": family if people.chance(40) else None,
            "scheme_code": people.one(self.schemes),
            **self._decision(),
        }

    def _decision(self) -> dict[str, Any]:
        people = self.people
        explanations = (None, "Every rule is met.", "é" * 700, f"Note {people.random.random()}")
        return {
            "evaluation_status": people.one(_STATUSES),
            "eligibility_score": self._score(),
            "confidence_score": self._score(),
            "explanation": people.one(explanations),
        }

    def _score(self) -> Decimal | None:
        if self.people.chance(40):
            return self.people.one(_SCORES)
        return Decimal(self.people.random.randint(0, 10_000)) / 10_000

    def _pick(self) -> int:
        return self.people.one(self.known)


def _ago(connection: psycopg.Connection, seconds: float) -> Any:
    query = "SELECT localtimestamp - make_interval(secs => %s)"
    row = connection.execute(query, [seconds]).fetchone()
    assert row is not None
    return row[0]
