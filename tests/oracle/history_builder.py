"""Build small histories of one table for tests."""

from dataclasses import dataclass, field
from typing import Any

from .history import Change

GOLDEN: dict[str, Any] = {
    "gr_id": None,
    "family_id": None,
    "jan_aadhaar": None,
    "full_name": "Asha Devi",
    "date_of_birth": "1980-02-29",
    "gender": "Female",
    "district_id": 17,
    "city_village": "Rampura",
    "pincode": "302001",
    "status": "active",
    "updated_at": "2026-03-01T10:00:00",
    "mobile_number": None,
    "email": None,
    "updated_by": None,
    "review_required": False,
    "review_reason": None,
    "source_updated_at": None,
    "age": 46,
}
SNAPSHOT: dict[str, Any] = {
    "snapshot_id": None,
    "family_id": "family",
    "member_id": None,
    "scheme_code": "NREGA",
    "evaluation_status": "RULE_ELIGIBLE",
    "eligibility_score": None,
    "confidence_score": None,
    "explanation": None,
    "evaluation_timestamp": "2026-03-01T10:00:00",
    "evaluation_version": 1,
}
CITIZEN: dict[str, Any] = {
    "id": None,
    "aadhaar_number": "012345678901",
    "mobile_number": "0123456789",
    "email": "asha@example.in",
    "full_name": "Asha Devi",
    "date_of_birth": "1980-02-29",
    "gender": "FEMALE",
    "city": "Rampura",
    "district": "Jaipur",
    "pincode": "302001",
    "status": "ACTIVE",
    "verification_status": "VERIFIED",
    "updated_at": "2026-03-01T10:00:00",
    "last_login_at": None,
}


@dataclass(slots=True)
class HistoryBuilder:
    """Collects the changes of one table; `defaults` are the columns of an inserted row."""

    key: str
    defaults: dict[str, Any]
    changes: list[Change] = field(default_factory=list)
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def insert(self, key: Any, writer: str = "warehouse", **columns: Any) -> "HistoryBuilder":
        new = {**self.defaults, self.key: key, **columns}
        return self._record(None, new, writer)

    def update(self, key: Any, writer: str = "warehouse", **columns: Any) -> "HistoryBuilder":
        old = self.rows.pop(key)
        return self._record(old, {**old, **columns}, writer)

    def delete(self, key: Any) -> "HistoryBuilder":
        return self._record(self.rows.pop(key), None, "warehouse")

    def _record(
        self, old: dict[str, Any] | None, new: dict[str, Any] | None, writer: str
    ) -> "HistoryBuilder":
        if new is not None:
            self.rows[new[self.key]] = new
        seq = len(self.changes) + 1
        self.changes.append(Change(seq=seq, relation="", old=old, new=new, writer=writer))
        return self


def golden_history() -> HistoryBuilder:
    return HistoryBuilder("gr_id", GOLDEN)


def snapshot_history() -> HistoryBuilder:
    return HistoryBuilder("snapshot_id", SNAPSHOT)


def citizen_history() -> HistoryBuilder:
    return HistoryBuilder("id", CITIZEN)
