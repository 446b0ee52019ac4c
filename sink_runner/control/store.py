"""What operators want of each mapping: `sink.mapping_control`, in its target database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from ..masking.scrub import scrub_contacts
from ..plugin import TableMapping
from ..postgres.session import Connection
from ..writer.audit import audit

MOST_REASON = 500
"""The limit of a reason, in characters."""
_SET = """
INSERT INTO sink.mapping_control AS c (mapping, desired, reason, changed_by)
VALUES (%(mapping)s, %(desired)s, %(reason)s, %(by)s)
ON CONFLICT (mapping) DO UPDATE SET desired = excluded.desired, reason = excluded.reason,
  changed_by = excluded.changed_by, changed_at = now()
WHERE c.desired <> excluded.desired
RETURNING mapping
"""
_PAUSES = """
SELECT mapping, reason, changed_by, changed_at FROM sink.mapping_control
WHERE mapping = ANY (%s) AND desired = 'paused'
"""
_REPLAYS = """
SELECT mapping, max(request) FROM sink.control_request
WHERE kind = 'replay' AND mapping = ANY (%s) GROUP BY mapping
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a mapping is paused, who wanted it, and since when."""

    reason: str
    by: str
    at: datetime

    def __str__(self) -> str:
        at = self.at.astimezone(UTC)
        return f"{self.by} paused it at {at:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"


class Wanted(NamedTuple):
    """What operators want of a mapping."""

    pause: Pause | None = None
    replay: int = 0
    """The number of the last replay: after another one, the stored offsets count again."""


def wanted(connection: Connection, mappings: Collection[str]) -> Mapping[str, Wanted]:
    """Return what is wanted of each of these mappings."""
    paused = pauses(connection, mappings)
    replays = dict(connection.execute(_REPLAYS, (list(mappings),)).fetchall())
    return {name: Wanted(paused.get(name), replays.get(name, 0)) for name in mappings}


def pauses(connection: Connection, mappings: Collection[str]) -> Mapping[str, Pause]:
    """Return the pause of each of these mappings that is to be paused."""
    rows = connection.execute(_PAUSES, (list(mappings),)).fetchall()
    return {name: Pause(*pause) for name, *pause in rows}


def pause(
    connection: Connection, name: str, mapping: TableMapping, *, reason: str, by: str
) -> bool:
    """Let every runner pause the mapping; return False if it is paused already.

    What looks like personal data is removed from the reason.
    """
    return _change(connection, name, mapping, desired="paused", reason=reason, by=by)


def resume(connection: Connection, name: str, mapping: TableMapping, *, by: str) -> bool:
    """Let every runner go on with the mapping; return False if it is not paused."""
    if name not in pauses(connection, [name]):
        return False
    return _change(connection, name, mapping, desired="running", reason="", by=by)


def _change(
    connection: Connection, name: str, mapping: TableMapping, *, desired: str, reason: str, by: str
) -> bool:
    """Store what is wanted and audit who wants it, unless it is wanted already."""
    reason = (scrub_contacts(reason) or "")[:MOST_REASON]
    values = {"mapping": name, "desired": desired, "reason": reason, "by": by}
    with connection.transaction():
        if connection.execute(_SET, values).fetchone() is None:
            return False
        audit_action(connection, name, mapping, desired, by=by, reason=reason)
    return True


def audit_action(
    connection: Connection,
    name: str,
    mapping: TableMapping,
    action: str,
    *,
    by: str,
    **details: object,
) -> None:
    """Record what an operator did to a mapping, in the transaction that does it."""
    target = mapping.target_table
    audit(
        connection,
        event_type="sync",
        source=mapping.source_table.database,
        target=target.database,
        table=f"{target.schema}.{target.name}",
        user=by,
        details={"mapping": name, "action": action, **details},
    )
