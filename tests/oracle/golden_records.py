"""Flow 8, target side: the golden records after both the warehouse and the sink wrote them.

The warehouse and the sink update the same rows concurrently, and either order of two such updates
is right. The recorded history of golden_records therefore decides one thing about the sink: the
order in which it wrote. What it should have written is computed here. The sink may combine several
versions of a citizen in one update, so a version counts as written by the sink's first update that
carries the version's time or a later one.

The specification leaves these points open; the oracle reads them as follows:

- A record is matched whatever its status.
- A corrected Aadhaar number changes nothing in the old number's record but the review flag.
- A version with the same time as the record's `source_updated_at` wins (the portal wins ties).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .citizen_updates import MAPPED_COLUMNS, CitizenUpdate, CitizenUpdates
from .history import Change, Row, parse_time, split_key_changes

WRITTEN_COLUMNS = (*MAPPED_COLUMNS, "updated_by", "review_required")
_LAST = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRecord:
    """An expected golden record; `gr_id` is None if the sink inserted the record."""

    gr_id: str | None
    citizen_id: str | None
    columns: Row
    allowed_times: frozenset[str | None]
    """The values that `source_updated_at` may have."""


def compute_golden_records(
    changes: Iterable[Change], updates: CitizenUpdates
) -> dict[str, GoldenRecord]:
    """Return the expected records by gr_id, or by Aadhaar number if the sink inserted them."""
    record_changes = _group_by_record(changes)
    matched_numbers = {_number(changes_of_one) for changes_of_one in record_changes.values()}
    expected: dict[str, GoldenRecord] = {}
    for gr_id, changes_of_one in record_changes.items():
        number = _number(changes_of_one)
        by_warehouse = not changes_of_one[0].by_sink
        if by_warehouse or number in updates.by_number:
            key = gr_id if by_warehouse else number
            expected[key] = _compute_record(
                gr_id if by_warehouse else None, number, changes_of_one, updates
            )
    for number in updates.by_number:
        if number not in matched_numbers:
            expected[number] = _compute_record(None, number, [], updates)
    return expected


def _group_by_record(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Return the changes of each record that still exists, from its insertion on."""
    groups: dict[str, list[Change]] = {}
    for change in split_key_changes(changes, "gr_id"):
        if change.new is not None:
            groups.setdefault(change.new["gr_id"], []).append(change)
        elif change.old is not None:
            groups.pop(change.old["gr_id"], None)
    return groups


def _number(changes: list[Change]) -> str:
    """Return the Aadhaar number of a record's current version."""
    new = changes[-1].new
    assert new is not None
    return str(new["jan_aadhaar"])


def _compute_record(
    gr_id: str | None, number: str, changes: list[Change], updates: CitizenUpdates
) -> GoldenRecord:
    citizen_updates = updates.by_number.get(number, [])
    by_warehouse = [change for change in changes if not change.by_sink]
    by_sink = [change for change in changes if change.by_sink]
    columns: dict[str, Any] = dict.fromkeys(WRITTEN_COLUMNS)
    inserted = by_warehouse[0].new if gr_id is not None and by_warehouse else None
    initial_time = inserted["source_updated_at"] if inserted else None
    winners = list(_drop_stale(citizen_updates, initial_time))
    writes = [(float(change.seq), _changed_values(change)) for change in by_warehouse]
    writes += [
        (_find_write(by_sink, winner), _written_values(winner))
        for winner in winners
        if winner.values
    ]
    for _, values in sorted(writes, key=lambda write: write[0]):
        columns.update(values)
    if winners and not any(winner.values for winner in winners):
        # The sink sets updated_by together with the time, and whether it takes the time is open.
        del columns["updated_by"]
    # No test resolves a review, so the flag stays set.
    flagged = gr_id is None or number in updates.abandoned_numbers
    columns["review_required"] = flagged or bool(columns["review_required"])
    return GoldenRecord(
        gr_id=gr_id,
        citizen_id=citizen_updates[-1].citizen_id if citizen_updates else None,
        columns=columns,
        allowed_times=frozenset(_allowed_times(initial_time, winners)),
    )


def _allowed_times(
    initial_time: str | None, winners: Sequence[CitizenUpdate]
) -> Iterator[str | None]:
    """Yield the time of the last update that set a value, and that of the last update."""
    with_values = [winner.time for winner in winners if winner.values]
    yield with_values[-1] if with_values else initial_time
    if winners:
        yield winners[-1].time


def _drop_stale(updates: Iterable[CitizenUpdate], newest: str | None) -> Iterator[CitizenUpdate]:
    """Yield the updates that are not older than `newest` or an update before them."""
    for update in updates:
        if newest is None or parse_time(update.time) >= parse_time(newest):
            newest = update.time
            yield update


def _find_write(by_sink: Iterable[Change], winner: CitizenUpdate) -> float:
    """Return the `seq` of the sink's change that wrote an update; infinity if it has not yet."""
    for change in by_sink:
        time = change.new["source_updated_at"] if change.new else None
        if time is not None and parse_time(time) >= parse_time(winner.time):
            return change.seq
    return _LAST


def _changed_values(change: Change) -> dict[str, Any]:
    old, new = change.old, change.new
    assert new is not None
    return {name: new[name] for name in WRITTEN_COLUMNS if old is None or old[name] != new[name]}


def _written_values(winner: CitizenUpdate) -> dict[str, Any]:
    return {**winner.values, "updated_by": "citizen_portal"}
