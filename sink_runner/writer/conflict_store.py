"""Find recorded conflicts, and record how they are resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from ..masking.scrub import scrub_contacts
from .audit import audit
from .conflicts import REVIEW, SOURCE_WINS, TARGET_WINS

Connection = psycopg.Connection[Any]

TYPES = ("timestamp_conflict", "data_conflict", "deletion_conflict")
ACTIONS = (SOURCE_WINS, TARGET_WINS, "merged", REVIEW)
_COLUMNS = """
SELECT conflict_id AS id, table_name AS "table", record_id AS record,
  source_database AS source, target_database AS target, conflict_type AS type,
  source_value, target_value, detected_at AS detected, resolution_action AS action,
  resolved_by, resolved_at AS resolved, resolution_notes AS notes
FROM sink.conflict
"""
_LIST = (
    _COLUMNS
    + """
WHERE (%(all)s OR resolved_at IS NULL)
  AND (%(type)s::text IS NULL OR conflict_type = %(type)s)
  AND (%(table)s::text IS NULL OR table_name = %(table)s)
  AND (%(since)s::date IS NULL OR detected_at >= %(since)s)
  AND (%(records)s::text[] IS NULL OR record_id = ANY (%(records)s))
ORDER BY conflict_id DESC LIMIT %(most)s
"""
)
_ONE = _COLUMNS + "WHERE conflict_id = %s"
_RESOLVE = """
UPDATE sink.conflict
SET resolution_action = %(action)s::text, resolution_notes = %(notes)s, resolved_by = %(user)s,
  resolved_at = CASE WHEN %(action)s::text <> %(review)s THEN now() AT TIME ZONE 'UTC' END
WHERE conflict_id = %(id)s AND resolved_at IS NULL
RETURNING table_name, source_database, conflict_type
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A row of `sink.conflict`, whose values were masked before they were stored."""

    id: int
    table: str
    record: str
    source: str
    target: str
    type: str
    source_value: dict[str, Any] | None
    target_value: dict[str, Any] | None
    detected: datetime
    action: str | None
    resolved_by: str | None
    resolved: datetime | None
    notes: str | None


class Wanted(NamedTuple):
    """The filters of a list of conflicts; None omits a filter."""

    all: bool = False
    """Whether to include resolved conflicts."""
    type: str | None = None
    table: str | None = None
    since: date | None = None
    most: int = 100
    records: list[str] | None = None
    """The texts of the rows' keys, as `KeyText` returns them."""


def find(connection: Connection, wanted: Wanted) -> Sequence[Conflict]:
    """Return the conflicts, the newest first."""
    with connection.cursor(row_factory=class_row(Conflict)) as cursor:
        return cursor.execute(_LIST.encode(), wanted._asdict()).fetchall()


def get(connection: Connection, number: int) -> Conflict | None:
    with connection.cursor(row_factory=class_row(Conflict)) as cursor:
        return cursor.execute(_ONE.encode(), (number,)).fetchone()


def resolve(
    connection: Connection, database: str, number: int, *, action: str, notes: str, user: str
) -> bool:
    """Resolve an open conflict and audit that; return False if it is not open.

    Numbers and e-mail addresses in the notes are hidden.
    """
    given = {"id": number, "action": action, "user": user, "review": REVIEW}
    with connection.transaction():
        found = connection.execute(_RESOLVE, {**given, "notes": scrub_contacts(notes)}).fetchone()
        if found is None:
            return False
        table, source, kind = found
        details = {"conflict": number, "conflict_type": kind, "action": action}
        audit(
            connection,
            event_type="conflict",
            source=source,
            target=database,
            table=table,
            user=user,
            details=details,
        )
    return True
