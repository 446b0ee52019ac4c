"""What the database itself can do with the same rows: the measure for everything else."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg import sql

from . import measured
from .home import SOURCE, TARGET, Connection, Home
from .recording import Recording, history

_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = 'bench.account'::regclass AND attnum > 0 ORDER BY attnum
"""
_MERGE = """
INSERT INTO bench.account AS t ({columns})
SELECT {columns} FROM (
  SELECT DISTINCT ON (id) * FROM bench.recorded
  WHERE revision BETWEEN %s AND %s ORDER BY id, revision DESC
) AS newest
ON CONFLICT (id) DO UPDATE SET {sets} WHERE excluded.updated_at >= t.updated_at
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows a second of the database alone."""

    merge: float
    copy: float


def measure(home: Home, recording: Recording, rows: int) -> Reference:
    """Merge the staged rows, `rows` in each transaction; then copy the same rows as text."""
    with home.admin(TARGET) as target:
        measured.prepare(home, target, recording)
        merge = _merge(target, recording, rows)
        if Recording.digest_of(target) != recording.digest:
            raise AssertionError("the reference came to other rows")
        home.rest()
        with home.admin(SOURCE) as source:
            blocks = history(source)
        return Reference(recording.events / merge, recording.events / _copy(target, blocks))


def _merge(target: Connection, recording: Recording, rows: int) -> float:
    """Seconds from the first statement to the last commit."""
    names = [name for (name,) in target.execute(_COLUMNS).fetchall()]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    sets = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name != "id"
    )
    merge = sql.SQL(_MERGE).format(columns=columns, sets=sets)
    began = time.perf_counter()
    for first in range(1, recording.events + 1, rows):
        target.execute(merge, (first, first + rows - 1), prepare=True)
    return time.perf_counter() - began


def _copy(target: Connection, blocks: list[bytes]) -> float:
    target.execute("TRUNCATE bench.copied")
    began = time.perf_counter()
    with target.cursor().copy("COPY bench.copied FROM STDIN") as copy:
        for block in blocks:
            copy.write(block)
    return time.perf_counter() - began
