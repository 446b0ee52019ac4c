"""Flow 4: the rows of smart_citizen.eligibility_hints after a history of eligibility snapshots.

The rules come from the specification alone, not from the runner's code. Where the specification
leaves a point open, the oracle reads it as follows:

- An update of a snapshot is applied only if its `evaluation_timestamp` is greater (specification
  004). In the other flows a version with an equal time is applied, too (further decisions).
- `member_id` NULL means the whole family, and is treated like one more member.
- The best member for a scheme is found by the same order as the best schemes of a family.
- A NULL confidence counts as 0, as a NULL score does.
- A version with a score or confidence outside 0 to 1, or with an unknown status, becomes a dead
  letter: the version before it stays.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .history import Change, Row, parse_time, split_key_changes

WINDOW = timedelta(days=30)
MAX_SCHEMES = 5
_ELIGIBLE_STATES = frozenset({"RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE"})
_STATES = _ELIGIBLE_STATES | {"NOT_ELIGIBLE", "UNCERTAIN", "ERROR"}
_MAX_CHARACTERS = 500
_HUNDREDTH = Decimal("0.01")
_EPOCH = parse_time("2000-01-01")

Key = tuple[str, str]


def compute_hints(changes: Iterable[Change], now: datetime) -> dict[Key, Row]:
    """Return the expected rows at time `now` by (family_id, scheme_code)."""
    latest: dict[tuple[str, str | None, str], Row] = {}
    for row in current_snapshots(changes).values():
        member_and_scheme = (row["family_id"], row["member_id"], row["scheme_code"])
        if member_and_scheme not in latest or _recency(row) > _recency(latest[member_and_scheme]):
            latest[member_and_scheme] = row
    best: dict[Key, Row] = {}
    for row in latest.values():
        key = (row["family_id"], row["scheme_code"])
        if _is_eligible(row, now) and (key not in best or _sort_key(row) < _sort_key(best[key])):
            best[key] = row
    families: dict[str, list[Row]] = {}
    for (family, _), row in best.items():
        families.setdefault(family, []).append(row)
    return {
        (row["family_id"], row["scheme_code"]): map_columns(row)
        for schemes in families.values()
        for row in sorted(schemes, key=_sort_key)[:MAX_SCHEMES]
    }


def current_snapshots(changes: Iterable[Change]) -> dict[int, Row]:
    """Return the existing snapshots by id, each in its version with the newest evaluation."""
    current: dict[int, Row] = {}
    for change in split_key_changes(changes, "snapshot_id"):
        if change.new is not None:
            if not _is_valid(change.new):
                continue
            previous = current.get(change.new["snapshot_id"])
            if previous is None or _evaluation_time(change.new) > _evaluation_time(previous):
                current[change.new["snapshot_id"]] = change.new
        elif change.old is not None:
            current.pop(change.old["snapshot_id"], None)
    return current


def map_columns(row: Row) -> dict[str, Any]:
    explanation = row["explanation"]
    return {
        "family_id": row["family_id"],
        "scheme_code": row["scheme_code"],
        "eligibility_status": row["evaluation_status"],
        "eligibility_score": _round_half_up(row["eligibility_score"]),
        "confidence": _round_half_up(row["confidence_score"]),
        "explanation": (
            "No explanation available" if explanation is None else explanation[:_MAX_CHARACTERS]
        ),
        "updated_at": row["evaluation_timestamp"],
    }


def _is_eligible(row: Row, now: datetime) -> bool:
    return row["evaluation_status"] in _ELIGIBLE_STATES and _evaluation_time(row) >= now - WINDOW


def _is_valid(row: Row) -> bool:
    scores = (row["eligibility_score"], row["confidence_score"])
    in_range = all(0 <= Decimal(score or 0) <= 1 for score in scores)
    return in_range and row["evaluation_status"] in _STATES


def _evaluation_time(row: Row) -> datetime:
    return parse_time(row["evaluation_timestamp"])


def _recency(row: Row) -> tuple[datetime, int, int]:
    return _evaluation_time(row), row["evaluation_version"] or 0, row["snapshot_id"]


def _sort_key(row: Row) -> tuple[Decimal, Decimal, timedelta, str]:
    """Sort the best first: by score, confidence, evaluation time and scheme code."""
    score, confidence = row["eligibility_score"], row["confidence_score"]
    return (
        -Decimal(score or 0),
        -Decimal(confidence or 0),
        _EPOCH - _evaluation_time(row),
        row["scheme_code"],
    )


def _round_half_up(value: Any) -> Decimal:
    return Decimal(value or 0).quantize(_HUNDREDTH, ROUND_HALF_UP)
