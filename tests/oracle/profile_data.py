"""Flow 2: the rows of smart_citizen.profile_data after a history of golden records.

The rules come from the specification alone, not from the runner's code. Where the specification
leaves a point open, the oracle reads it as follows:

- A version loses if its `updated_at` is older than that of a version before it; of two versions
  with the same time the later in the log wins (further decisions). A deletion discards the time: a
  row that is inserted again is compared with no earlier version.
- The window of 30 days applies to the `updated_at` of a version. An older version is ignored; a row
  that is already in the target is not removed when it gets older than the window.
- Whether a version that changes no mapped column updates `source_updated_at` is open. Both are
  accepted: the time of the last version, and that of any version since the mapped columns got their
  current values.
- A value of at most four characters would be shown whole by its mask, and is masked completely. An
  e-mail address without an @ has no domain to show and becomes `***@***`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .history import Change, Row, parse_time, split_key_changes

WINDOW = timedelta(days=30)
_UNMASKED_DIGITS = 4
_INACTIVE_STATES = frozenset({"INACTIVE", "MERGED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An expected row of profile_data."""

    columns: Row
    allowed_times: frozenset[str]
    """The values that `source_updated_at` may have."""


@dataclass(slots=True)
class _RecordState:
    """The newest time and the profile of one golden record, after the versions applied so far."""

    newest: datetime | None = None
    profile: Profile | None = None

    def apply(self, row: Row, oldest: datetime) -> None:
        time = parse_time(row["updated_at"])
        if self.newest is not None and time < self.newest:
            return
        self.newest = time
        if time < oldest:
            return
        self.profile = _make_profile(row, self.profile) if is_active(row) else None


def compute_profiles(
    changes: Iterable[Change], now: datetime, window: timedelta | None = WINDOW
) -> dict[str, Profile]:
    """Return the expected rows by record_id.

    Pass `window=None` for a batch run, which reads versions of any age.
    """
    oldest = datetime.min if window is None else now - window  # noqa: DTZ901 - times without zone
    records: dict[str, _RecordState] = {}
    for change in split_key_changes(changes, "gr_id"):
        if change.new is not None:
            records.setdefault(change.new["gr_id"], _RecordState()).apply(change.new, oldest)
        elif change.old is not None:
            records.pop(change.old["gr_id"], None)
    return {key: record.profile for key, record in records.items() if record.profile is not None}


def is_active(row: Row) -> bool:
    """Whether a record is neither inactive nor merged, in any case; NULL means active."""
    return (row["status"] or "active").upper() not in _INACTIVE_STATES


def map_columns(row: Row) -> dict[str, Any]:
    return {
        "record_id": row["gr_id"],
        "family_id": row["family_id"] or row["gr_id"],
        "jan_aadhaar": _mask_all_but_last("****-****-", row["jan_aadhaar"]),
        "full_name": row["full_name"],
        "date_of_birth": row["date_of_birth"],
        "gender": "UNKNOWN" if row["gender"] is None else row["gender"],
        "district_id": row["district_id"],
        "city": row["city_village"],
        "mobile_number": _mask_all_but_last("******", row["mobile_number"]),
        "email": _mask_email(row["email"]),
    }


def _make_profile(row: Row, previous: Profile | None) -> Profile:
    columns, times = map_columns(row), {row["updated_at"]}
    if previous is not None and previous.columns == columns:
        times |= previous.allowed_times
    return Profile(columns=columns, allowed_times=frozenset(times))


def _mask_all_but_last(mask: str, value: str | None) -> str | None:
    if value is None:
        return None
    if len(value) <= _UNMASKED_DIGITS:
        return mask + "*" * _UNMASKED_DIGITS
    return mask + value[-_UNMASKED_DIGITS:]


def _mask_email(value: str | None) -> str | None:
    if value is None:
        return None
    local, at, domain = value.rpartition("@")
    if not at:
        return "***@***"
    return f"{local[0] if len(local) > 1 else ''}***@{domain}"
