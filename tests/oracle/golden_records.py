"""Flow 8, its target side: what the golden records hold after both sides wrote them.

The warehouse and the sink write the same rows at the same time, and either order of two such
writes is right. So the history of golden_records is asked one thing about the sink: when it wrote
a version of a citizen. What it wrote is computed here. A version counts as written with the first
write of the sink that carries its time or a later one, since versions may be written together.

Readings of what the specification leaves open:

- A record is matched whatever its status.
- The flag of an abandoned record is all that changes of it.
- A version of the same time as the record's `source_updated_at` wins (the portal wins ties).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .citizens import MAPPED, Asked, Assignment
from .history import Change, Row, apart, moment

WRITTEN = (*MAPPED, "updated_by", "review_required")
_LAST = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A golden record that must be there; without `gr_id` it is one that the sink made."""

    gr_id: str | None
    citizen: str | None
    columns: Row
    times: frozenset[str | None]
    """What `source_updated_at` may be."""


def golden_records(changes: Iterable[Change], asked: Asked) -> dict[str, Golden]:
    """The expected records by gr_id, or by Aadhaar number where the sink chose the gr_id."""
    lives = _lives(changes)
    owners = {_number(life): gr_id for gr_id, life in lives.items()}
    expected: dict[str, Golden] = {}
    for gr_id, life in lives.items():
        number = _number(life)
        born_here = not life[0].by_sink
        if born_here or number in asked.assignments:
            key = gr_id if born_here else number
            expected[key] = _golden(gr_id if born_here else None, number, life, asked)
    for number in asked.assignments:
        if number not in owners:
            expected[number] = _golden(None, number, [], asked)
    return expected


def _lives(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of each record that still exists, from its insert on."""
    lives: dict[str, list[Change]] = {}
    for change in apart(changes, "gr_id"):
        if change.new is not None:
            lives.setdefault(change.new["gr_id"], []).append(change)
        elif change.old is not None:
            lives.pop(change.old["gr_id"], None)
    return lives


def _number(life: list[Change]) -> str:
    new = life[-1].new
    assert new is not None
    return str(new["jan_aadhaar"])


def _golden(gr_id: str | None, number: str, life: list[Change], asked: Asked) -> Golden:
    assignments = asked.assignments.get(number, [])
    own = [change for change in life if not change.by_sink]
    sink = [change for change in life if change.by_sink]
    columns: dict[str, Any] = dict.fromkeys(WRITTEN)
    base = own[0].new if gr_id is not None and own else None
    known = base["source_updated_at"] if base else None
    winners = list(_winners(assignments, known))
    writes = [(float(change.seq), _changed(change)) for change in own]
    writes += [(_written(sink, winner), _values(winner)) for winner in winners if winner.values]
    for _, values in sorted(writes, key=lambda write: write[0]):
        columns.update(values)
    if winners and not any(winner.values for winner in winners):
        del columns["updated_by"]  # goes with the time, which it may have taken or not
    # Nobody in the tests answers a review, so the flag stays once it is set.
    flagged = gr_id is None or number in asked.abandoned
    columns["review_required"] = flagged or bool(columns["review_required"])
    citizen = assignments[-1].citizen if assignments else None
    return Golden(
        gr_id=gr_id, citizen=citizen, columns=columns, times=frozenset(_times(known, winners))
    )


def _times(known: str | None, winners: Sequence[Assignment]) -> Iterator[str | None]:
    """The last time that brought a value, and the last of all."""
    brought = [winner.time for winner in winners if winner.values]
    yield brought[-1] if brought else known
    if winners:
        yield winners[-1].time


def _winners(assignments: Iterable[Assignment], newest: str | None) -> Iterator[Assignment]:
    for assignment in assignments:
        if newest is None or moment(assignment.time) >= moment(newest):
            newest = assignment.time
            yield assignment


def _written(sink: Iterable[Change], winner: Assignment) -> float:
    """When the sink wrote a version: the place of that write among the record's changes."""
    for change in sink:
        time = change.new["source_updated_at"] if change.new else None
        if time is not None and moment(time) >= moment(winner.time):
            return change.seq
    return _LAST


def _changed(change: Change) -> dict[str, Any]:
    old, new = change.old, change.new
    assert new is not None
    return {name: new[name] for name in WRITTEN if old is None or old[name] != new[name]}


def _values(winner: Assignment) -> dict[str, Any]:
    return {**winner.values, "updated_by": "citizen_portal"}
