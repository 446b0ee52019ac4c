"""Contracts: the row of a source for which a mapping was planned, stored in the target's database.

A contract survives restarts, so a table that changed while no runner was running is compared with
its previous state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..config.dsn import Dsn
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from .shape import ColumnShape, RowShape, row_of

_EXISTS = "SELECT to_regclass('sink.schema_contract') IS NOT NULL"
_LOAD = "SELECT columns, key, missing, accepted FROM sink.schema_contract WHERE mapping = %s"
# A mapping's first row can't be locked before it exists.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sink.schema_contract ' || %s, 0))"
_SAVE = """
INSERT INTO sink.schema_contract (mapping, columns, key, missing, accepted)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (mapping) DO UPDATE SET columns = excluded.columns, key = excluded.key,
  missing = excluded.missing, accepted = excluded.accepted, updated_at = now()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The last row without a refused finding, and the changes that a person accepted."""

    row: RowShape
    missing: frozenset[str] = frozenset()
    """Columns that the mapping names and whose removal was accepted."""
    accepted: frozenset[int] = frozenset()
    """Schemas that are read without a check."""

    @property
    def known(self) -> frozenset[str]:
        """The columns that the source has or once had."""
        return self.missing | self.row.columns.keys()

    def followed_by(self, row: RowShape, present: RowShape | None = None) -> Contract:
        """Return the contract after an unrefused row; what the row does not contain is kept.

        A column that exists again is no longer an accepted removal. Only `present`, the current
        table, shows that: a row of an earlier schema still has the removed column.
        """
        columns = {
            name: _newer(self.row.columns.get(name), current)
            for name, current in row.columns.items()
        }
        fields = tuple({"name": name, "type": it.avro} for name, it in columns.items())
        return replace(
            self,
            row=RowShape(columns, row.key or self.row.key, fields=fields),
            missing=self.missing - (present or row).columns.keys(),
        )

    def accepting(self, row: RowShape, named: frozenset[str]) -> Contract:
        """Return the contract after a person accepted `row`; `named` are the mapping's columns."""
        ids = self.accepted | ({row.schema_id} if row.schema_id is not None else frozenset())
        missing = (self.missing | named) - row.columns.keys()
        return replace(self.followed_by(row), missing=missing, accepted=frozenset(ids))


def _newer(previous: ColumnShape | None, current: ColumnShape) -> ColumnShape:
    """Return the newer shape, but keep lengths: the registry has none, the catalog had them."""
    if previous is None or current.source_type or not previous.source_type:
        return current
    same = (previous.type.kind, previous.bits) == (current.type.kind, current.bits)
    return previous if same and previous.type.nullable == current.type.nullable else current


class Contracts:
    """The contracts in one target's database."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn

    def load(self, mapping: str) -> Contract | None:
        """Return the contract of a mapping; None for a new one."""
        with _session(self._dsn) as connection:
            if connection.execute(_EXISTS).fetchone() == (False,):
                return None  # no runner has used this database yet
            found = connection.execute(_LOAD, (mapping,)).fetchone()
        return None if found is None else _contract(*found)

    def save(self, mapping: str, contract: Contract) -> None:
        """Store a contract in place of the stored one."""
        self.update(mapping, lambda _stored: contract)

    def update(
        self,
        mapping: str,
        change: Callable[[Contract | None], Contract],
        also: Callable[[Connection], None] = lambda _connection: None,
    ) -> Contract:
        """Store what `change` returns for the stored contract; call `also` in the transaction.

        A lock keeps a runner and a person from overwriting each other's change.
        """
        with _session(self._dsn) as connection, connection.transaction():
            connection.execute(_LOCK, (mapping,))
            found = connection.execute(_LOAD, (mapping,)).fetchone()
            contract = change(None if found is None else _contract(*found))
            connection.execute(_SAVE, _row(mapping, contract))
            also(connection)
        return contract


def _row(mapping: str, contract: Contract) -> tuple[Any, ...]:
    key = contract.row.key
    return (
        mapping,
        json.dumps(list(contract.row.fields)),
        None if key is None else list(key),
        sorted(contract.missing),
        sorted(contract.accepted),
    )


def _contract(
    columns: list[Mapping[str, Any]],
    key: list[str] | None,
    missing: list[str],
    accepted: list[int],
) -> Contract:
    row = row_of({"type": "record", "name": "Value", "fields": columns})
    assert row is not None
    key_ = None if key is None else tuple(key)
    return Contract(
        row=replace(row, key=key_), missing=frozenset(missing), accepted=frozenset(accepted)
    )


@contextmanager
def _session(dsn: Dsn) -> Iterator[Connection]:
    """Open a session; RetriableError where the target does not answer."""
    with classified_errors(), connect(dsn, "sink-runner schema") as connection:
        yield connection
