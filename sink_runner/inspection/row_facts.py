"""Read what the runner's tables have of one row: dead letters, conflicts, findings, audit entries.

No value of a row is returned: keys are found by their hashes or by the text that `KeyText` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..dlq.stored_dead_letters import StoredDeadLetter
from ..postgres.session import Connection
from ..writer.conflict_store import Conflict

MOST = 5
"""How many entries of each kind are returned, the newest ones."""
_FINDINGS = """
SELECT f.run, f.kind, f.columns, f.repaired, f.found_at FROM sink.reconcile_finding f
JOIN sink.reconcile_run USING (run)
WHERE mapping = %s AND key_hash = ANY (%s) ORDER BY found_at DESC LIMIT %s
"""
# The log has an index of its times alone.
_AUDIT = """
SELECT "timestamp", event_type, operation, details FROM sink.audit_log
WHERE "timestamp" > now() - interval '30 days' AND details->>'mapping' = %s
  AND details->'keys' ?| %s ORDER BY audit_id DESC LIMIT %s
"""
_AUDITED = ("run", "topic", "offsets", "policy_version", "policy_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """What is stored of one row, the newest first; times are ISO 8601."""

    events: Sequence[dict[str, Any]] = ()
    """The events of the row that were found in the topic."""
    dead_letters: Sequence[dict[str, Any]] = ()
    conflicts: Sequence[dict[str, Any]] = ()
    findings: Sequence[dict[str, Any]] = ()
    """What reconciliation found."""
    audit: Sequence[dict[str, Any]] = field(default_factory=tuple)
    """Transactions of at most 20 rows that wrote the row, of the last 30 days."""

    def lines(self) -> list[str]:
        """Return a line for each entry."""
        found = []
        for name in self.__slots__:
            for entry in getattr(self, name):
                parts = [f"{key} {value}" for key, value in entry.items() if value is not None]
                found.append(f"{name.replace('_', ' ')}: {', '.join(parts)}")
        return found


def describe_dead_letters(database: str, found: Sequence[StoredDeadLetter]) -> list[dict[str, Any]]:
    """Return the dead letters of a row, the newest first, without their events."""
    names = ("status", "error_class", "error_message", "attempts", "created_at")
    records = [one.as_json(database) for one in found[-MOST:]]
    return [{name: one[name] for name in ("id", *names)} for one in reversed(records)]


def describe_conflicts(found: Sequence[Conflict]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "type": one.type,
            "action": one.action or "open",
            "detected": one.detected.isoformat(timespec="seconds"),
        }
        for one in found
    ]


def read_findings(
    connection: Connection, mapping: str, fingerprints: Collection[bytes]
) -> list[dict[str, Any]]:
    """Return what reconciliation found of a row, by the fingerprints of its key."""
    rows = connection.execute(_FINDINGS, (mapping, list(fingerprints), MOST)).fetchall()
    return [
        {
            "run": run,
            "kind": kind,
            "columns": ", ".join(columns) or None,
            "repaired": repaired,
            "found_at": at.isoformat(timespec="seconds"),
        }
        for run, kind, columns, repaired, at in rows
    ]


def read_audit_entries(
    connection: Connection, mapping: str, keys: Collection[str]
) -> list[dict[str, Any]]:
    """Return the audit entries that name a row, by the texts of its target key."""
    rows = connection.execute(_AUDIT, (mapping, list(keys), MOST)).fetchall()
    return [
        {
            "at": at.isoformat(timespec="seconds"),
            "event": " ".join(filter(None, (kind, operation))),
            **{name: details.get(name) for name in _AUDITED},
        }
        for at, kind, operation, details in rows
    ]
