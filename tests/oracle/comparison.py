"""Compare the targets with their expected rows and report differences without personal values."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from . import history, profile_data
from .citizen_updates import CitizenUpdates, Districts, collect_updates, normalize_name
from .eligibility_hints import compute_hints
from .golden_records import GoldenRecord, compute_golden_records
from .history import Row
from .profile_data import Profile

# The columns whose values a difference may print: none of them is personal.
_PRINTABLE_COLUMNS = frozenset(
    {"updated_at", "updated_by", "review_required", "resolution_action"}
    | {"eligibility_status", "eligibility_score", "confidence"}
)
_PROFILES = "SELECT * FROM public.profile_data"
_HINTS = "SELECT * FROM public.eligibility_hints"
_GOLDEN = "SELECT * FROM public.golden_records"
_CONFLICTS = """SELECT record_id, source_system, resolution_action, resolved_at
                FROM public.cdc_conflict_resolution WHERE conflict_type = 'deletion_conflict'"""
_DISTRICTS = "SELECT district_name AS name, district_id FROM public.districts"
_ALIASES = "SELECT alias_norm AS name, district_id FROM public.district_alias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A column or a whole row that does not have its expected value."""

    table: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.problem}"


def find_differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    window: timedelta | None = profile_data.WINDOW,
) -> list[Difference]:
    """Return what is wrong in the targets of flows 2, 4 and 8, from the histories of their sources.

    Pass `window=None` after a batch run, which also writes the profiles older than the window.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    golden = history.read_changes(warehouse, "public.golden_records")
    snapshots = history.read_changes(warehouse, "eligibility.eligibility_snapshots")
    updates = collect_updates(
        history.read_changes(citizen, "public.citizens"), load_districts(warehouse)
    )
    profiles = profile_data.compute_profiles(filter(_is_valid, golden), now, window)
    differences = list(compare_profiles(profiles, history.fetch_rows(citizen, _PROFILES)))
    differences += compare_hints(compute_hints(snapshots, now), history.fetch_rows(citizen, _HINTS))
    records = history.fetch_rows(warehouse, _GOLDEN)
    differences += compare_golden_records(compute_golden_records(golden, updates), records)
    differences += compare_conflicts(updates, records, history.fetch_rows(warehouse, _CONFLICTS))
    return differences


def _is_valid(change: history.Change) -> bool:
    """Whether a version was created before it was updated; otherwise it is a dead letter."""
    new = change.new
    return new is None or (new.get("created_at") or new["updated_at"]) <= new["updated_at"]


def load_districts(warehouse: psycopg.Connection) -> Districts:
    """Return the ids of the warehouse's districts; an ambiguous name has none."""
    names: dict[str, set[int]] = {}
    for row in history.fetch_rows(warehouse, _DISTRICTS):
        names.setdefault(normalize_name(row["name"]), set()).add(row["district_id"])
    return Districts(
        aliases={
            row["name"]: row["district_id"] for row in history.fetch_rows(warehouse, _ALIASES)
        },
        names={name: min(ids) for name, ids in names.items() if len(ids) == 1},
    )


def compare_profiles(expected: Mapping[str, Profile], rows: Sequence[Row]) -> Iterator[Difference]:
    actual = {row["record_id"]: row for row in rows}
    yield from _compare_keys("profile_data", expected, actual, str)
    for key in expected.keys() & actual.keys():
        yield from _compare_columns("profile_data", key, expected[key].columns, actual[key])
        yield from _compare_time("profile_data", key, expected[key].allowed_times, actual[key])


def compare_hints(
    expected: Mapping[tuple[str, str], Row], rows: Sequence[Row]
) -> Iterator[Difference]:
    actual = {(row["family_id"], row["scheme_code"]): row for row in rows}
    yield from _compare_keys("eligibility_hints", expected, actual, " ".join)
    for key in expected.keys() & actual.keys():
        yield from _compare_columns("eligibility_hints", " ".join(key), expected[key], actual[key])


def compare_golden_records(
    expected: Mapping[str, GoldenRecord], rows: Sequence[Row]
) -> Iterator[Difference]:
    """Name a record that the sink inserted by its citizen: its key here is an Aadhaar number."""
    actual = {
        row["gr_id"] if row["gr_id"] in expected else str(row["jan_aadhaar"]): row for row in rows
    }

    def name(key: str) -> str:
        if key in expected:
            record = expected[key]
            return record.gr_id or f"of citizen {record.citizen_id}"
        return str(actual[key]["gr_id"])

    yield from _compare_keys("golden_records", expected, actual, name)
    for key in expected.keys() & actual.keys():
        record, row = expected[key], actual[key]
        yield from _compare_columns("golden_records", name(key), record.columns, row)
        yield from _compare_time("golden_records", name(key), record.allowed_times, row)
        if record.columns["review_required"] and not row["review_reason"]:
            yield Difference(
                table="golden_records", key=name(key), problem="review without a reason"
            )


def compare_conflicts(
    updates: CitizenUpdates, records: Sequence[Row], conflicts: Sequence[Row]
) -> Iterator[Difference]:
    """Require one unresolved conflict per deleted citizen, under its id or its golden record's id.

    A citizen that is deleted again while its conflict is unresolved gets no second one.
    """
    ids = {row["jan_aadhaar"]: row["gr_id"] for row in records}
    unmatched = list(conflicts)
    for citizen, number in dict.fromkeys(updates.deletions):
        keys = {citizen, ids.get(number)}
        row = next((row for row in unmatched if row["record_id"] in keys), None)
        if row is None:
            problem = "deletion without a conflict row"
            yield Difference(table="cdc_conflict_resolution", key=citizen, problem=problem)
            continue
        unmatched.remove(row)
        required = {
            "source_system": "citizen",
            "resolution_action": "manual_review",
            "resolved_at": None,
        }
        yield from _compare_columns("cdc_conflict_resolution", citizen, required, row)
    for row in unmatched:
        problem = "conflict row without a deletion"
        yield Difference(table="cdc_conflict_resolution", key=row["record_id"], problem=problem)


def _compare_keys(
    table: str, expected: Mapping[Any, Any], actual: Mapping[Any, Row], name: Callable[[Any], str]
) -> Iterator[Difference]:
    for key in expected.keys() - actual.keys():
        yield Difference(table=table, key=name(key), problem="missing row")
    for key in actual.keys() - expected.keys():
        yield Difference(table=table, key=name(key), problem="extra row")


def _compare_columns(table: str, key: str, expected: Row, actual: Row) -> Iterator[Difference]:
    for column, value in expected.items():
        if actual[column] != value:
            printable = column in _PRINTABLE_COLUMNS
            problem = f"is {actual[column]}, not {value}" if printable else "differs"
            yield Difference(table=table, key=key, problem=f"{column} {problem}")


def _compare_time(
    table: str, key: str, allowed: Collection[str | None], actual: Row
) -> Iterator[Difference]:
    time = actual["source_updated_at"]
    if time not in allowed:
        problem = f"source_updated_at is {time}, not {' or '.join(sorted(map(str, allowed)))}"
        yield Difference(table=table, key=key, problem=problem)
