"""Flow 8, source side: the updates of golden records that a history of citizens requires.

The rules come from the specification alone, not from the runner's code. Where the specification
leaves a point open, the oracle reads it as follows:

- A column has changed if its value differs in the warehouse's spelling. Another spelling of the
  same district or gender is not a change, and an update without a changed column writes nothing,
  not even a time.
- If an update only sets values to NULL, or the district to an unknown name, no column may be
  overwritten. Whether the record takes the time of that version is open: both are accepted.
- If the previous version was not verified, not active, or had no or another Aadhaar number, every
  column counts as changed.
- A corrected number flags the old number's record only if the citizen was verified and active both
  before and after. A number that was removed flags nothing: the citizen has no number any more.
- An update of a citizen's `id` is not a deletion.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .history import Change, Row

_DIRECT = {
    "full_name": "full_name",
    "date_of_birth": "date_of_birth",
    "mobile_number": "mobile_number",
    "email": "email",
    "city_village": "city",
    "pincode": "pincode",
}
MAPPED_COLUMNS = (*_DIRECT, "gender", "district_id")
_ACTIVE_STATES = frozenset({"ACTIVE", "VERIFIED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Districts:
    """The warehouse's district ids by normalized name."""

    aliases: Mapping[str, int]
    names: Mapping[str, int]

    def find_id(self, district: str) -> int | None:
        name = normalize_name(district)
        return self.aliases.get(name, self.names.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class CitizenUpdate:
    """The columns of a golden record that one version of a citizen sets."""

    citizen_id: str
    time: str
    values: Row
    """Empty if the version only removed values."""


@dataclass(slots=True)
class CitizenUpdates:
    """All updates that the citizens require, by Aadhaar number."""

    by_number: dict[str, list[CitizenUpdate]] = field(default_factory=dict)
    abandoned_numbers: set[str] = field(default_factory=set)
    """Numbers that were corrected: the records that have them are flagged for review."""
    deletions: list[tuple[str, str]] = field(default_factory=list)
    """Id and Aadhaar number of each verified, active citizen that was deleted."""


def collect_updates(changes: Iterable[Change], districts: Districts) -> CitizenUpdates:
    """Return the updates: those of one number by time, those of one citizen in commit order."""
    updates = CitizenUpdates()
    for change in changes:
        if change.new is None:
            if change.old is not None and is_qualified(change.old):
                updates.deletions.append((change.old["id"], change.old["aadhaar_number"]))
        elif is_qualified(change.new):
            _add_update(updates, change.old, change.new, districts)
    for of_number in updates.by_number.values():
        of_number.sort(key=lambda update: update.time)
    return updates


def is_qualified(row: Row) -> bool:
    return (
        (row["verification_status"] or "").upper() == "VERIFIED"
        and (row["status"] or "").upper() in _ACTIVE_STATES
        and bool(row["aadhaar_number"])
    )


def map_columns(row: Row, districts: Districts) -> dict[str, Any]:
    """Return the values of a citizen by golden-record column, in the warehouse's spelling."""
    values = {target: row[source] for target, source in _DIRECT.items()}
    values["gender"] = row["gender"].title() if row["gender"] else None
    values["district_id"] = districts.find_id(row["district"]) if row["district"] else None
    return values


def normalize_name(name: str) -> str:
    return " ".join(name.lower().split())


def _add_update(updates: CitizenUpdates, old: Row | None, new: Row, districts: Districts) -> None:
    number, before = new["aadhaar_number"], dict[str, Any]()
    if old is not None and is_qualified(old):
        if old["aadhaar_number"] == number:
            before = map_columns(old, districts)
        else:
            updates.abandoned_numbers.add(old["aadhaar_number"])
    after = map_columns(new, districts)
    changed = {name: value for name, value in after.items() if value != before.get(name)}
    if changed:
        values = {name: value for name, value in changed.items() if value is not None}
        update = CitizenUpdate(citizen_id=new["id"], time=new["updated_at"], values=values)
        updates.by_number.setdefault(number, []).append(update)
