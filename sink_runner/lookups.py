"""Values found in a database by other values: one query a column and batch, never one a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from .faults import judge
from .plugin import Column, Lookup
from .target import connect


class Lookups:
    """The lookup columns of one mapping, and the connections that answer them."""

    def __init__(self, columns: Sequence[Column], dsns: Mapping[str, str]) -> None:
        self._lookups: dict[str, Lookup] = {
            column.name: column.lookup for column in columns if column.lookup
        }
        self._dsns = dsns
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    def resolve(self, column: str, asked: set[Any]) -> Mapping[Any, Any]:
        """What stands for each value, as text or a number; a value not found is missing."""
        lookup = self._lookups[column]
        try:
            connection = self._connection(lookup.database)
            rows = connection.execute(lookup.query.encode(), (sorted(asked, key=str),)).fetchall()
        except psycopg.Error as fault:
            self.close()
            raise judge(fault) from fault
        return dict(rows)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _connection(self, database: str) -> psycopg.Connection[Any]:
        if database not in self._connections:
            self._connections[database] = connect(self._dsns[database], "sink-runner lookups")
        return self._connections[database]
