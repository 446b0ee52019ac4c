"""Both databases beside what they should hold, and every difference without a person's values."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from . import history, profile_data
from .citizens import Asked, Districts, asked, normal
from .eligibility_hints import eligibility_hints
from .golden_records import Golden, golden_records
from .history import Row
from .profile_data import Profile

# The only values that a difference may show.
_IMPERSONAL = frozenset(
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
    """One column of one row, or a whole row, that is not as it should be."""

    table: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.what}"


def differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    window: timedelta | None = profile_data.WINDOW,
) -> list[Difference]:
    """What is wrong with the three targets now, given the recorded histories of their sources.

    Without a window a batch has brought the profiles that events leave out.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    golden = history.read(warehouse, "public.golden_records")
    snapshots = history.read(warehouse, "eligibility.eligibility_snapshots")
    wanted = asked(history.read(citizen, "public.citizens"), districts(warehouse))
    profiles = profile_data.profile_data(filter(_consistent, golden), now, window)
    found = list(compare_profiles(profiles, history.rows(citizen, _PROFILES)))
    found += compare_hints(eligibility_hints(snapshots, now), history.rows(citizen, _HINTS))
    records = history.rows(warehouse, _GOLDEN)
    found += compare_golden(golden_records(golden, wanted), records)
    found += compare_conflicts(wanted, records, history.rows(warehouse, _CONFLICTS))
    return found


def _consistent(change: history.Change) -> bool:
    """Whether a version was not changed before it was created, which breaks a rule."""
    new = change.new
    return new is None or (new.get("created_at") or new["updated_at"]) <= new["updated_at"]


def districts(warehouse: psycopg.Connection) -> Districts:
    names: dict[str, set[int]] = {}
    for row in history.rows(warehouse, _DISTRICTS):
        names.setdefault(normal(row["name"]), set()).add(row["district_id"])
    return Districts(
        aliases={row["name"]: row["district_id"] for row in history.rows(warehouse, _ALIASES)},
        names={name: min(ids) for name, ids in names.items() if len(ids) == 1},
    )


def compare_profiles(expected: Mapping[str, Profile], found: Sequence[Row]) -> Iterator[Difference]:
    actual = {row["record_id"]: row for row in found}
    yield from _rows("profile_data", expected, actual, str)
    for key in expected.keys() & actual.keys():
        yield from _columns("profile_data", key, expected[key].columns, actual[key])
        yield from _time("profile_data", key, expected[key].times, actual[key])


def compare_hints(
    expected: Mapping[tuple[str, str], Row], found: Sequence[Row]
) -> Iterator[Difference]:
    actual = {(row["family_id"], row["scheme_code"]): row for row in found}
    yield from _rows("eligibility_hints", expected, actual, " ".join)
    for key in expected.keys() & actual.keys():
        yield from _columns("eligibility_hints", " ".join(key), expected[key], actual[key])


def compare_golden(expected: Mapping[str, Golden], found: Sequence[Row]) -> Iterator[Difference]:
    """Records that the sink made are told by their citizen: their key is an Aadhaar number."""
    actual = {
        row["gr_id"] if row["gr_id"] in expected else str(row["jan_aadhaar"]): row for row in found
    }

    def name(key: str) -> str:
        if key in expected:
            golden = expected[key]
            return golden.gr_id or f"of citizen {golden.citizen}"
        return str(actual[key]["gr_id"])

    yield from _rows("golden_records", expected, actual, name)
    for key in expected.keys() & actual.keys():
        golden, row = expected[key], actual[key]
        yield from _columns("golden_records", name(key), golden.columns, row)
        yield from _time("golden_records", name(key), golden.times, row)
        if golden.columns["review_required"] and not row["review_reason"]:
            yield Difference(table="golden_records", key=name(key), what="review without a reason")


def compare_conflicts(
    wanted: Asked, records: Sequence[Row], conflicts: Sequence[Row]
) -> Iterator[Difference]:
    """One open row for each deleted citizen, under its id or that of its golden record.

    A citizen that is deleted again while its row waits for a person gets no second one.
    """
    ids = {row["jan_aadhaar"]: row["gr_id"] for row in records}
    left = list(conflicts)
    for citizen, number in dict.fromkeys(wanted.deletions):
        keys = {citizen, ids.get(number)}
        row = next((row for row in left if row["record_id"] in keys), None)
        if row is None:
            told = "deletion without a conflict row"
            yield Difference(table="cdc_conflict_resolution", key=citizen, what=told)
            continue
        left.remove(row)
        right = {"source_system": "citizen", "resolution_action": "manual_review"}
        yield from _columns("cdc_conflict_resolution", citizen, {**right, "resolved_at": None}, row)
    for row in left:
        told = "conflict row without a deletion"
        yield Difference(table="cdc_conflict_resolution", key=row["record_id"], what=told)


def _rows(
    table: str, expected: Mapping[Any, Any], actual: Mapping[Any, Row], name: Callable[[Any], str]
) -> Iterator[Difference]:
    for key in expected.keys() - actual.keys():
        yield Difference(table=table, key=name(key), what="row missing")
    for key in actual.keys() - expected.keys():
        yield Difference(table=table, key=name(key), what="row too many")


def _columns(table: str, key: str, expected: Row, actual: Row) -> Iterator[Difference]:
    for column, value in expected.items():
        if actual[column] != value:
            shown = f" is {actual[column]}, not {value}" if column in _IMPERSONAL else ""
            yield Difference(table=table, key=key, what=f"{column}{shown or ' differs'}")


def _time(
    table: str, key: str, allowed: Collection[str | None], actual: Row
) -> Iterator[Difference]:
    time = actual["source_updated_at"]
    if time not in allowed:
        told = f"source_updated_at is {time}, not {' or '.join(sorted(map(str, allowed)))}"
        yield Difference(table=table, key=key, what=told)
