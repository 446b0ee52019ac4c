"""Flow 8, its source side: what a history of citizens asks of the golden records.

Written from the specification alone. Readings of what it leaves open:

- Whether a column changed is asked of the values as the warehouse spells them: another spelling of
  the same district or gender is no change, and an update that changes nothing writes nothing, not
  even a time. If all that changed is that a value became NULL, or a district one that nobody knows,
  nothing may be written over, but the record may take the time or not: both are allowed.
- If the old version was not verified, not active, without a number or under another one, there is
  nothing to compare with: every column counts.
- A corrected number flags the old record only if the citizen was verified and active before and
  is after. A number that was taken away flags nothing: the citizen is then one without a number.
- A citizen whose `id` changes is none that was deleted.
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
MAPPED = (*_DIRECT, "gender", "district_id")
_ACTIVE = frozenset({"ACTIVE", "VERIFIED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Districts:
    """How the warehouse understands a district's name; both tables by their text."""

    aliases: Mapping[str, int]
    names: Mapping[str, int]

    def __getitem__(self, written: str) -> int | None:
        name = normal(written)
        return self.aliases.get(name, self.names.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One version of a citizen, as far as it concerns a golden record."""

    citizen: str
    time: str
    values: Row
    """Empty if all that changed is that values are gone."""


@dataclass(slots=True)
class Asked:
    """Everything that the citizens ask for, by Aadhaar number."""

    assignments: dict[str, list[Assignment]] = field(default_factory=dict)
    abandoned: set[str] = field(default_factory=set)
    """Numbers that were corrected: their records are flagged."""
    deletions: list[tuple[str, str]] = field(default_factory=list)
    """Citizen and number of each verified, active citizen that was deleted."""


def asked(changes: Iterable[Change], districts: Districts) -> Asked:
    """Assignments of one number are in the order of their time; those of one citizen as logged."""
    found = Asked()
    for change in changes:
        if change.new is None:
            if change.old is not None and qualified(change.old):
                found.deletions.append((change.old["id"], change.old["aadhaar_number"]))
        elif qualified(change.new):
            _ask(found, change.old, change.new, districts)
    for assignments in found.assignments.values():
        assignments.sort(key=lambda assignment: assignment.time)
    return found


def qualified(row: Row) -> bool:
    return (
        (row["verification_status"] or "").upper() == "VERIFIED"
        and (row["status"] or "").upper() in _ACTIVE
        and bool(row["aadhaar_number"])
    )


def mapped(row: Row, districts: Districts) -> dict[str, Any]:
    """The columns as the warehouse spells them."""
    values = {target: row[source] for target, source in _DIRECT.items()}
    values["gender"] = row["gender"].title() if row["gender"] else None
    values["district_id"] = districts[row["district"]] if row["district"] else None
    return values


def normal(name: str) -> str:
    return " ".join(name.lower().split())


def _ask(found: Asked, old: Row | None, new: Row, districts: Districts) -> None:
    number, before = new["aadhaar_number"], dict[str, Any]()
    if old is not None and qualified(old):
        if old["aadhaar_number"] == number:
            before = mapped(old, districts)
        else:
            found.abandoned.add(old["aadhaar_number"])
    after = mapped(new, districts)
    changed = {name: value for name, value in after.items() if value != before.get(name)}
    if changed:
        values = {name: value for name, value in changed.items() if value is not None}
        made = Assignment(citizen=new["id"], time=new["updated_at"], values=values)
        found.assignments.setdefault(number, []).append(made)
