"""Unique constraints of a target besides its key, whose values may pass between source rows.

A deferrable constraint is checked after a set of changes, so that rows may swap values.  Any other
constraint is checked with each row, so that a row has to give a value up before another takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import psycopg

from ..errors import WaitingError
from ..model.changes import Change, Key
from ..postgres.catalog import TableCatalog, qualified, quoted
from .parameters import key_arrays, run
from .statements import Statements

Connection = psycopg.Connection[Any]

_DEFERRABLE = """
SELECT c.conname::text, ARRAY(SELECT a.attname::text FROM pg_attribute a
  WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND c.contype = 'u')
FROM pg_constraint c WHERE c.conrelid = to_regclass(%s) AND c.contype IN ('u', 'x')
  AND c.condeferrable ORDER BY 1
"""


class UniqueConstraints:
    """The deferrable unique constraints of a target, as the session has read them."""

    def __init__(self, statements: Statements, target: TableCatalog) -> None:
        self._sql = statements
        self._target = target
        self._columns: Mapping[str, Sequence[str]] = {}

    def load(self, connection: Connection) -> None:
        """Read the constraints, which may be declared while the mapping runs."""
        found = connection.execute(_DEFERRABLE, (self._target.sql_name,))
        self._columns = dict(found.fetchall())

    def defer(self, connection: Connection) -> None:
        """Defer the constraints until `check`."""
        self._set(connection, "DEFERRED")

    def check(self, connection: Connection) -> None:
        """Raise psycopg.Error if the rows written violate a constraint."""
        self._set(connection, "IMMEDIATE")

    def _set(self, connection: Connection, mode: str) -> None:
        if self._columns:
            schema = self._target.table.schema
            names = ", ".join(qualified(schema, name) for name in self._columns)
            run(connection, f"SET CONSTRAINTS {names} {mode}")

    def colliding(
        self,
        connection: Connection,
        part: Sequence[Change],
        error: WaitingError,
        write: Callable[[], object],
    ) -> Collection[Key]:
        """Return the keys of `part` whose rows violate the constraint of `error`.

        `write` writes the rows again, and is rolled back.  Returns no key if none can be found.
        """
        self.load(connection)
        constraint = error.constraint
        whose = self._sql.target == self._target.sql_name  # not of the candidates
        if not (whose and constraint and self._columns.get(constraint)):
            return ()
        with connection.transaction(force_rollback=True):
            self.defer(connection)
            write()
            return self._colliding_keys(connection, constraint, part)

    def _colliding_keys(
        self, connection: Connection, constraint: str, changes: Sequence[Change]
    ) -> set[Key]:
        """Return the keys of changes whose rows have a value that another row has as well.

        If several changes have the same value, the first one may keep it.
        """
        keys = list(dict.fromkeys(change.key for change in changes))
        found = run(connection, self._colliding_query(self._columns[constraint]), key_arrays(keys))
        return {keys[at] for (at,) in found.fetchall()}

    def _colliding_query(self, columns: Sequence[str]) -> str:
        """Takes the keys; returns numbers of them, from 0."""
        values = ", ".join(f"t.{quoted(name)} AS u{at}" for at, name in enumerate(columns))
        same = " AND ".join(f"o.{quoted(name)} = p.u{at}" for at, name in enumerate(columns))
        arrays = ", ".join("%s::text[]" for _ in self._sql.key)
        names = ", ".join([*map(quoted, self._sql.key), "_number"])
        return (
            f"WITH part AS (SELECT s._number, t.tableoid AS o, t.ctid AS at, {values} "
            f"FROM unnest({arrays}) WITH ORDINALITY AS s({names}) "
            f"JOIN {self._sql.target} t ON {self._sql.same_key}) "
            f"SELECT p._number - 1 FROM part p JOIN {self._sql.target} o "
            f"ON {same} AND (o.tableoid, o.ctid) <> (p.o, p.at) "
            "LEFT JOIN part q ON (q.o, q.at) = (o.tableoid, o.ctid) "
            "WHERE q._number IS NULL OR q._number < p._number"
        )
