"""Find values in a database by other values, with one query for a column and batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from ..config.dsn import Dsn
from ..errors import ConfigError, FatalError, ValueRefusedError
from ..model.time_limit import TimeLimit
from ..plugin import Column, Lookup, TableMapping
from ..postgres.error_classes import classified_errors, classify_error
from ..postgres.loaders import load_as_stored
from ..postgres.session import connect
from .pg_encoding import text_key
from .target_lookups import reads_target


class Lookups:
    """The lookup columns of one mapping, and the connections that answer them."""

    def __init__(
        self,
        columns: Sequence[Column],
        dsns: Mapping[str, Dsn],
        timeout: float = 60.0,
        *,
        mapping: TableMapping | None = None,
    ) -> None:
        self._mapping = mapping
        self._lookups = {column.name: column.lookups for column in columns if column.lookups}
        self._dsns = dsns
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        self._roles: dict[str, str] = {}
        self._limit = TimeLimit(timeout)

    def resolve(
        self, column: str, values: set[Any], target: psycopg.Connection[Any] | None = None
    ) -> Mapping[Any, Any]:
        """Return what was found for each value; a value not found is missing or None.

        `target` is the session of a write transaction: lookups that read the mapping's own target
        run in it.
        """
        first, *others = self._lookups[column]
        try:
            found = self._query(first, values, target)
            for lookup in others:
                found = {value: it for value, it in found.items() if it is not None}
                next_ = self._query(lookup, {*found.values()}, target)
                found = {value: next_.get(text_key(it)) for value, it in found.items()}
        except (ConfigError, FatalError) as fault:
            raise type(fault)(f"lookup of column {column!r}: {fault}") from fault
        return found

    def _query(
        self, lookup: Lookup, values: set[Any], target: psycopg.Connection[Any] | None
    ) -> dict[Any, Any]:
        if not values:
            return {}
        ordered = sorted(values, key=str)
        several = isinstance(ordered[0], tuple)
        arrays = [list(part) for part in zip(*ordered, strict=True)] if several else [ordered]
        if target is not None and self._mapping and reads_target(self._mapping, lookup):
            rows = self._query_target(lookup, arrays, target)
        else:
            rows = self._query_reader(lookup, arrays)
        found = {row[:-1] if several else row[0]: row[-1] for row in rows}
        returned, wanted = set(map(text_key, found)), set(map(text_key, values))
        if returned - wanted and wanted - returned:
            raise ValueRefusedError(
                "its query returns a value in another spelling than the one looked up: select the "
                "value of the array, by unnest(%s), and not the table's"
            )
        return found

    def _query_reader(self, lookup: Lookup, arrays: Sequence[Any]) -> list[Any]:
        try:
            rows = _rows(self._connection(lookup.database), lookup, arrays)
        except psycopg.Error as fault:
            self.close()
            raise self._limit.record_failure(
                classify_error(fault, role=self._roles.get(lookup.database))
            ) from fault
        self._limit.record_success()
        return rows

    @staticmethod
    def _query_target(
        lookup: Lookup, arrays: Sequence[Any], target: psycopg.Connection[Any]
    ) -> list[Any]:
        """Query in a subtransaction: a value that the query refuses must not abort the write."""
        with classified_errors(), target.transaction():
            return _rows(target, lookup, arrays)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _connection(self, database: str) -> psycopg.Connection[Any]:
        if database not in self._connections:
            session = connect(self._dsns[database], "sink-runner lookups", self._limit.seconds)
            self._connections[database], self._roles[database] = session, session.info.user
        return self._connections[database]


def _rows(connection: psycopg.Connection[Any], lookup: Lookup, arrays: Sequence[Any]) -> list[Any]:
    cursor = connection.cursor()
    load_as_stored(cursor)
    return cursor.execute(lookup.query.encode(), arrays).fetchall()
