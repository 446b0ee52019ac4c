"""Flow 4: what smart_citizen.eligibility_hints holds after a history of eligibility snapshots.

Written from the specification alone. Readings of what it leaves open:

- A snapshot that is updated in place counts only with a newer `evaluation_timestamp` (004: "only if
  the source's is greater"; further decisions: only flow 4 is strict about time).
- `member_id` NULL, the family as a whole, is one more member.
- The best member of a scheme is found by the order that also ranks the schemes.
- A NULL confidence counts as 0, as a NULL score does.
- A version with a score or a confidence outside 0 to 1, or a status that is not listed, breaks a
  rule and is set aside: the one before it stays.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .history import Change, Row, apart, moment

WINDOW = timedelta(days=30)
TOP = 5
_ELIGIBLE = frozenset({"RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE"})
_STATES = _ELIGIBLE | {"NOT_ELIGIBLE", "UNCERTAIN", "ERROR"}
_LONGEST = 500
_HUNDREDTH = Decimal("0.01")
_SOME_TIME = moment("2000-01-01")

Key = tuple[str, str]


def eligibility_hints(changes: Iterable[Change], now: datetime) -> dict[Key, Row]:
    """The expected rows by (family_id, scheme_code), as seen at `now`."""
    latest: dict[tuple[str, str | None, str], Row] = {}
    for row in snapshots(changes).values():
        candidate = (row["family_id"], row["member_id"], row["scheme_code"])
        if candidate not in latest or _age(row) > _age(latest[candidate]):
            latest[candidate] = row
    best: dict[Key, Row] = {}
    for row in latest.values():
        key = (row["family_id"], row["scheme_code"])
        if _counts(row, now) and (key not in best or _rank(row) < _rank(best[key])):
            best[key] = row
    families: dict[str, list[Row]] = {}
    for (family, _), row in best.items():
        families.setdefault(family, []).append(row)
    return {
        (row["family_id"], row["scheme_code"]): columns(row)
        for members in families.values()
        for row in sorted(members, key=_rank)[:TOP]
    }


def snapshots(changes: Iterable[Change]) -> dict[int, Row]:
    """The snapshots that count, each in the version with the newest evaluation."""
    found: dict[int, Row] = {}
    for change in apart(changes, "snapshot_id"):
        if change.new is not None:
            if not _keeps_the_rules(change.new):
                continue
            known = found.get(change.new["snapshot_id"])
            if known is None or _evaluated(change.new) > _evaluated(known):
                found[change.new["snapshot_id"]] = change.new
        elif change.old is not None:
            found.pop(change.old["snapshot_id"], None)
    return found


def columns(row: Row) -> dict[str, Any]:
    explanation = row["explanation"]
    return {
        "family_id": row["family_id"],
        "scheme_code": row["scheme_code"],
        "eligibility_status": row["evaluation_status"],
        "eligibility_score": _two_places(row["eligibility_score"]),
        "confidence": _two_places(row["confidence_score"]),
        "explanation": (
            "No explanation available" if explanation is None else explanation[:_LONGEST]
        ),
        "updated_at": row["evaluation_timestamp"],
    }


def _counts(row: Row, now: datetime) -> bool:
    return row["evaluation_status"] in _ELIGIBLE and _evaluated(row) >= now - WINDOW


def _keeps_the_rules(row: Row) -> bool:
    scores = (row["eligibility_score"], row["confidence_score"])
    in_range = all(0 <= Decimal(score or 0) <= 1 for score in scores)
    return in_range and row["evaluation_status"] in _STATES


def _evaluated(row: Row) -> datetime:
    return moment(row["evaluation_timestamp"])


def _age(row: Row) -> tuple[datetime, int, int]:
    return _evaluated(row), row["evaluation_version"] or 0, row["snapshot_id"]


def _rank(row: Row) -> tuple[Decimal, Decimal, timedelta, str]:
    """The smallest is the best: score, confidence, newest, scheme code."""
    score, confidence = row["eligibility_score"], row["confidence_score"]
    return (
        -Decimal(score or 0),
        -Decimal(confidence or 0),
        _SOME_TIME - _evaluated(row),
        row["scheme_code"],
    )


def _two_places(value: Any) -> Decimal:
    return Decimal(value or 0).quantize(_HUNDREDTH, ROUND_HALF_UP)
