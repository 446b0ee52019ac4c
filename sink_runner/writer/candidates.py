"""Derive target rows from groups of source rows, which are kept as candidates.

The candidates are in a table of the runner in the target database and change in the same
transaction as the rows that are derived from them.  One advisory lock for each group, taken in
sorted order, keeps two runners from deriving a group at the same time, each without the other's
rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg

from ..loading.mapping_checks import candidate_name
from ..model.changes import Change, Position, Wave
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog, qualified
from ..postgres.session import creating
from .derivation import Derivation
from .parameters import key_arrays, run
from .statements import Statements
from .uniqueness import UniqueConstraints
from .writer import Writer

Connection = psycopg.Connection[Any]

_EXPIRED_AT_ONCE = 5_000  # rows for each transaction


def candidate_table(mapping: str) -> str:
    """Return the quoted name of the mapping's candidate table."""
    return qualified("sink", candidate_name(mapping))


class CandidateWriter:
    """Writes candidates and the rows derived from them."""

    unique: UniqueConstraints
    keeps_positions = True  # each candidate has its own

    def __init__(
        self, mapping: TableMapping, statements: Statements, target: TableCatalog, writer: Writer
    ) -> None:
        assert mapping.derived is not None
        self._candidates = mapping.derived
        self._sql = statements
        self._writer = writer
        self._derivation = Derivation(
            mapping=statements.mapping,
            declared=mapping,
            candidates=mapping.derived,
            table=statements.target,
            columns=statements.columns,
            target=target,
        )
        self._derive = ""
        self.state = writer.state

    def prepare(self, connection: Connection) -> None:
        """Create the candidate table and the session's temporary tables."""
        with creating(connection):
            for statement in self._derivation.create:
                run(connection, statement)
        self._writer.prepare(connection)
        run(connection, self._derivation.create_touched)
        self._derive = self._derivation.derive(connection)

    def truncate(self, connection: Connection, position: Position, now: datetime) -> int:
        """Delete the candidates that are not newer, and derive their groups."""
        run(connection, self._derivation.touch(f"{self._sql.target} t"))
        self._writer.truncate(connection, position, now)
        return self._derive_touched(connection, now)

    def write(self, connection: Connection, changes: Iterable[Change], now: datetime) -> int:
        """Apply the changes to the candidates, then derive every group they touched."""
        self._writer.begin(connection)
        for wave in self._writer.waves(connection, changes):
            self._touch(connection, wave)
            self._writer.write_wave(connection, wave)
            self._touch(connection, wave)
        return self._derive_touched(connection, now)

    def expire(self, connection: Connection, now: datetime) -> int:
        """Delete some of the expired candidates and derive their groups."""
        age = self._candidates.expire_after
        if age is None:
            return 0
        aged = run(connection, self._derivation.expire, (now - age, _EXPIRED_AT_ONCE)).rowcount
        return self._derive_touched(connection, now) if aged else 0

    def _touch(self, connection: Connection, wave: Wave) -> None:
        keys = sorted([*wave.writes, *wave.removals], key=str)
        if keys:
            run(connection, self._derivation.touch(self._sql.existing), key_arrays(keys))

    def _derive_touched(self, connection: Connection, now: datetime) -> int:
        run(connection, self._derivation.lock, (self._sql.mapping,))
        ((count,),) = run(connection, self._derive, {"now": now}).fetchall()
        return int(count)
