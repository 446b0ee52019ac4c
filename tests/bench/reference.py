"""Measure how fast PostgreSQL writes the same rows without a sink."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg import sql

from . import passes
from .recording import Recording, read_history
from .stack import SOURCE, TARGET, BenchStack, Connection

_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = 'bench.account'::regclass AND attnum > 0 ORDER BY attnum
"""
_MERGE = """
INSERT INTO bench.account AS t ({columns})
SELECT {columns} FROM (
  SELECT DISTINCT ON (id) * FROM bench.history
  WHERE revision BETWEEN %s AND %s ORDER BY id, revision DESC
) AS newest
ON CONFLICT (id) DO UPDATE SET {sets} WHERE excluded.updated_at >= t.updated_at
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows per second of a merge (INSERT ... ON CONFLICT) and of COPY."""

    merge: float
    copy: float


def measure(bench: BenchStack, recording: Recording, rows: int) -> Reference:
    """Merge the recorded history, `rows` per transaction; then COPY the same rows."""
    with bench.connect_admin(TARGET) as target:
        passes.reset_target(bench, target, recording)
        merge_seconds = _time_merge(target, recording, rows)
        if Recording.digest_of(target) != recording.digest:
            raise AssertionError("the merge wrote other rows than the recording has")
        bench.checkpoint()
        with bench.connect_admin(SOURCE) as source:
            blocks = read_history(source)
        return Reference(
            recording.events / merge_seconds, recording.events / _time_copy(target, blocks)
        )


def _time_merge(target: Connection, recording: Recording, rows: int) -> float:
    """Return the seconds from the first statement to the last commit."""
    names = [name for (name,) in target.execute(_COLUMNS).fetchall()]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    sets = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name != "id"
    )
    merge = sql.SQL(_MERGE).format(columns=columns, sets=sets)
    start = time.perf_counter()
    for first in range(1, recording.events + 1, rows):
        target.execute(merge, (first, first + rows - 1), prepare=True)
    return time.perf_counter() - start


def _time_copy(target: Connection, blocks: list[bytes]) -> float:
    target.execute("TRUNCATE bench.copy_target")
    start = time.perf_counter()
    with target.cursor().copy("COPY bench.copy_target FROM STDIN") as copy:
        for block in blocks:
            copy.write(block)
    return time.perf_counter() - start
