"""Flow 2: what smart_citizen.profile_data holds after a history of golden records.

Written from the specification alone. Readings of what it leaves open:

- A version loses if its own `updated_at` is older than one that was there before (further
  decisions, ties in time); of two with the same time the later in the log wins. A deleted row
  takes its time with it: a row that is inserted again begins anew.
- The window of 30 days is that of the version itself. It keeps a version out; it removes nothing.
- Whether a version that changes no mapped column moves `source_updated_at` is open, so both are
  allowed: the time of the last version, or of any since the mapped columns became what they are.
- A value too short for its mask is one of four characters or fewer: all of it would show. An
  e-mail address without an @ has no domain to show, and is hidden whole in the form of one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .history import Change, Row, apart, moment

WINDOW = timedelta(days=30)
_SHOWN = 4
_GONE = frozenset({"INACTIVE", "MERGED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A row that must be there, and the times that it may carry."""

    columns: Row
    times: frozenset[str]


@dataclass(slots=True)
class _Record:
    """One golden record on its way through its versions."""

    newest: datetime | None = None
    profile: Profile | None = None

    def see(self, row: Row, oldest: datetime) -> None:
        version = moment(row["updated_at"])
        if self.newest is not None and version < self.newest:
            return
        self.newest = version
        if version < oldest:
            return
        self.profile = _profile(row, self.profile) if belongs(row) else None


def profile_data(
    changes: Iterable[Change], now: datetime, window: timedelta | None = WINDOW
) -> dict[str, Profile]:
    """The expected rows by record_id; a batch knows no window."""
    oldest = datetime.min if window is None else now - window  # noqa: DTZ901 - times without zone
    records: dict[str, _Record] = {}
    for change in apart(changes, "gr_id"):
        if change.new is not None:
            records.setdefault(change.new["gr_id"], _Record()).see(change.new, oldest)
        elif change.old is not None:
            records.pop(change.old["gr_id"], None)
    return {key: record.profile for key, record in records.items() if record.profile is not None}


def belongs(row: Row) -> bool:
    """Inactive and merged records do not, in any case of letters; a NULL status is active."""
    return (row["status"] or "active").upper() not in _GONE


def columns(row: Row) -> dict[str, Any]:
    return {
        "record_id": row["gr_id"],
        "family_id": row["family_id"] or row["gr_id"],
        "jan_aadhaar": _last_four("****-****-", row["jan_aadhaar"]),
        "full_name": row["full_name"],
        "date_of_birth": row["date_of_birth"],
        "gender": "UNKNOWN" if row["gender"] is None else row["gender"],
        "district_id": row["district_id"],
        "city": row["city_village"],
        "mobile_number": _last_four("******", row["mobile_number"]),
        "email": _email(row["email"]),
    }


def _profile(row: Row, before: Profile | None) -> Profile:
    made, time = columns(row), frozenset({row["updated_at"]})
    kept = before.times if before is not None and before.columns == made else frozenset[str]()
    return Profile(columns=made, times=kept | time)


def _last_four(hidden: str, value: str | None) -> str | None:
    if value is None:
        return None
    return hidden + (value[-_SHOWN:] if len(value) > _SHOWN else "*" * _SHOWN)


def _email(value: str | None) -> str | None:
    if value is None:
        return None
    local, at, domain = value.rpartition("@")
    if not at:
        return "***@***"
    return f"{local[0] if len(local) > 1 else ''}***@{domain}"
