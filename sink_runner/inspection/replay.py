"""Replay or discard dead letters on request.

Either is one statement for each database, audited in the same transaction.  The runner that owns
the partition of a dead letter finds the request, and applies it and those that wait behind it in
order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from ..dlq.stored_dead_letters import DISCARDED, OPEN, PARKED, REPLAYED, SUPERSEDED
from ..masking.scrub import scrub_contacts
from ..writer.audit import audit

Connection = psycopg.Connection[Any]

_MOST_IDS = 100
"""The most dead letters in one row of the audit log."""
_REPLAY = """
UPDATE sink.dead_letter SET status = 'PARKED' WHERE dlq_id = ANY (%s) AND status = 'OPEN'
RETURNING dlq_id, flow, topic, partition IS NULL, attempts
"""
_DISCARD = """
UPDATE sink.dead_letter SET status = 'DISCARDED'
WHERE dlq_id = ANY (%s) AND status IN ('OPEN', 'PARKED')
RETURNING dlq_id, flow, topic, partition IS NULL, attempts
"""
_STATUSES = "SELECT dlq_id, status, attempts FROM sink.dead_letter WHERE dlq_id = ANY (%s)"


class Decided(NamedTuple):
    """A dead letter that is to be replayed or discarded."""

    dlq_id: int
    mapping: str
    topic: str | None
    of_batch: bool
    attempts: int


class Outcome(NamedTuple):
    """The state of a dead letter that was to be replayed."""

    dlq_id: int
    status: str
    attempts: int

    @property
    def settled(self) -> bool:
        return self.status != PARKED

    @property
    def word(self) -> str:
        words = {
            REPLAYED: "replayed",
            OPEN: "failed again",
            DISCARDED: "discarded",
            SUPERSEDED: "superseded by a newer row",
        }
        return words.get(self.status, "still waiting")


def replay(connection: Connection, ids: Sequence[int], *, user: str) -> list[Decided]:
    """Request a retry of open dead letters, in the order of their events."""
    return _decide(connection, _REPLAY, ids, user=user, action="replay")


def discard(connection: Connection, ids: Sequence[int], *, user: str, reason: str) -> list[Decided]:
    """Discard dead letters; they no longer block later events."""
    scrubbed = scrub_contacts(reason)
    return _decide(connection, _DISCARD, ids, user=user, action="discard", reason=scrubbed)


def outcomes(connection: Connection, ids: Sequence[int]) -> list[Outcome]:
    """Return their current states; deleted dead letters are left out."""
    return [Outcome(*row) for row in connection.execute(_STATUSES, (list(ids),)).fetchall()]


def wait(
    ask: Callable[[], Mapping[str, list[Outcome]]], seconds: float, report: Callable[[int], None]
) -> Mapping[str, list[Outcome]]:
    """Wait until all are settled or the time is over; `report` gets the number of settled ones."""
    bound = time.monotonic() + seconds
    while True:
        found = ask()
        every = [outcome for part in found.values() for outcome in part]
        report(sum(outcome.settled for outcome in every))
        if all(outcome.settled for outcome in every) or time.monotonic() > bound:
            return found
        time.sleep(0.2)


def _decide(
    connection: Connection, statement: str, ids: Sequence[int], *, user: str, **details: Any
) -> list[Decided]:
    with connection.transaction():
        rows = connection.execute(statement.encode(), (list(ids),)).fetchall()
        decided = sorted(Decided(*row) for row in rows)
        for mapping in sorted({one.mapping for one in decided}):
            mine = [one for one in decided if one.mapping == mapping]
            write_down(connection, mine, user=user, **details)
    return decided


def write_down(
    connection: Connection, dead_letters: Sequence[Any], *, user: str, **details: Any
) -> None:
    """Audit what a user did with dead letters of one mapping, each named, in the caller's
    transaction."""
    first = dead_letters[0]
    mapping = getattr(first, "mapping", None) or first.flow
    ids = [dead_letter.dlq_id for dead_letter in dead_letters]
    topic = first.topic or "unknown"
    for at in range(0, len(ids), _MOST_IDS):
        part = ids[at : at + _MOST_IDS]
        audit(
            connection,
            event_type="error",
            source=topic.partition(".")[0],
            target=connection.info.dbname,
            table=topic.partition(".")[2] or topic,
            user=user[:100],
            details={"mapping": mapping, "letters": len(part), "dlq_ids": part, **details},
        )


def by_mapping(decided: Sequence[Decided]) -> Counter[str]:
    return Counter(one.mapping for one in decided)
