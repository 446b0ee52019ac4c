"""Count broken rules and used defaults, in the transaction of the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import date
from typing import Any

import psycopg

from ..errors import QualityError, is_ours
from ..model.dead_letter import DeadLetter
from ..model.message import Message
from ..model.quality_rules import DEFAULT

# Rows are sorted, so that two sessions lock them in the same order.  It is the last statement of
# the batch's transaction, so that other sessions wait for the locks only as long as a commit takes.
_ADD = """
INSERT INTO sink.quality_count AS known (mapping, rule, column_name, day, rows)
SELECT %s, rule, column_name, %s, rows
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS counted (rule, column_name, rows)
ORDER BY rule, column_name
ON CONFLICT (mapping, rule, column_name, day) DO UPDATE SET rows = known.rows + excluded.rows
"""


def add_counts(
    connection: psycopg.Connection[Any],
    mapping: str,
    dead_letters: Collection[DeadLetter],
    defaults: Collection[tuple[Message, str]],
    day: date,
) -> None:
    """Add the counts of a batch; the defaults of dead letters are not counted."""
    if not (dead_letters or defaults):
        return
    counts = Counter(
        (dead_letter.error.rule, dead_letter.error.column)
        for dead_letter in dead_letters
        if isinstance(dead_letter.error, QualityError) and is_ours(dead_letter.error)
    )
    failed = {id(dead_letter.message) for dead_letter in dead_letters}
    counts.update((DEFAULT, column) for message, column in defaults if id(message) not in failed)
    if counts:
        rules, columns = zip(*counts, strict=True)
        values = [list(rules), list(columns), list(counts.values())]
        connection.execute(_ADD, (mapping, day, *values))
