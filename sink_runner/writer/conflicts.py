"""Record conflicts in `sink.conflict`, with masked values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from ..model.changes import Removal
from ..plugin import Review, TableMapping
from .audit import Trail

Connection = psycopg.Connection[Any]

REVIEW, SOURCE_WINS, TARGET_WINS = "manual_review", "source_wins", "target_wins"
MASKED = "***MASKED***"
"""Replaces a personal value, whatever the policies permit."""
_INSERT = """
INSERT INTO sink.conflict (table_name, record_id, source_database, target_database, conflict_type,
  source_value, target_value, resolution_action, resolved_by, resolved_at)
SELECT %(table)s::text, record, %(source)s::text, %(target)s::text, type, incoming, current, action,
  CASE WHEN action <> %(review)s::text THEN %(mapping)s::text END,
  CASE WHEN action <> %(review)s::text THEN now() AT TIME ZONE 'UTC' END
FROM unnest(%(records)s::text[], %(types)s::text[], %(incoming)s::jsonb[], %(current)s::jsonb[],
  %(actions)s::text[]) AS found (record, type, incoming, current, action)
WHERE action <> %(review)s::text OR NOT EXISTS (
  SELECT FROM sink.conflict known
  WHERE known.resolved_at IS NULL AND known.table_name = %(table)s::text
    AND known.record_id = found.record AND known.conflict_type = found.type)
RETURNING conflict_type
"""


class Found(NamedTuple):
    """A conflict and its outcome."""

    type: str
    record: str
    action: str = REVIEW
    """SOURCE_WINS or TARGET_WINS, or REVIEW if a person has to decide."""
    incoming: Mapping[str, Any] | None = None
    """The source's values of the columns that differ; None if there is no row."""
    current: Mapping[str, Any] | None = None


def review_conflicts(removals: Iterable[Removal], record_of: Callable[[str], str]) -> list[Found]:
    """Return the conflicts of removals that a person has to review.

    `record_of` returns the text by which the log names a source row.
    """
    return [
        Found(removal.action.conflict_type, record_of(removal.subject))
        for removal in removals
        if isinstance(removal.action, Review)
    ]


class ConflictLog:
    """Records the conflicts of one mapping, in the transaction that finds them.

    A conflict that waits for a person is recorded only once.
    """

    def __init__(self, mapping: TableMapping, unmasked: frozenset[str], trail: Trail) -> None:
        self._table = mapping.target_table.name
        self._source = mapping.source_table.database
        self._target = mapping.target_table.database
        self._unmasked = unmasked
        self._trail = trail

    def add(self, connection: Connection, found: Sequence[Found]) -> int:
        """Record the conflicts; return how many of them were new."""
        if not found:
            return 0
        parameters = {
            "table": self._table,
            "source": self._source,
            "target": self._target,
            "mapping": self._trail.name,
            "review": REVIEW,
            "records": [one.record for one in found],
            "types": [one.type for one in found],
            "incoming": [self._masked(one.incoming) for one in found],
            "current": [self._masked(one.current) for one in found],
            "actions": [one.action for one in found],
        }
        new = Counter(row[0] for row in connection.execute(_INSERT, parameters).fetchall())
        if new:
            self._trail.conflicts(connection, new)
        return new.total()

    def record(self, key: tuple[Any, ...]) -> str:
        """Return the text by which the log names a row of the target."""
        return self._trail.key_text(key)

    def source_record(self, subject: str) -> str:
        """Return the text by which the log names a source row."""
        return self._trail.key_text.of_source(subject)

    def _masked(self, values: Mapping[str, Any] | None) -> Jsonb | None:
        if values is None:
            return None
        return Jsonb({n: str(v) if n in self._unmasked else MASKED for n, v in values.items()})
