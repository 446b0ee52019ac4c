"""Find the column whose value PostgreSQL refuses, if the error does not name it.

`value too long for type character varying(5)` and most errors of class 22 name no column.  When an
event fails alone, its values are compared with the lengths of the target's types and then cast one
by one, in a subtransaction each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer

from ..errors import EventError, WriteError
from ..model.changes import Change, Write
from ..plugin import ABSENT
from ..postgres.error_classes import VALUE_FAULTS, classify_error
from ..postgres.sqlstates import READING_STATES
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType

Connection = psycopg.Connection[Any]

_DATA_EXCEPTION = "22"
_TRUNCATED = "22001"


class RefusedColumn:
    """Finds the refused columns of one mapping's rows."""

    most = 50
    """The most events of a transaction to examine: each takes a query for each column."""

    def __init__(self, columns: Sequence[TargetColumn], target: Mapping[str, PgType]) -> None:
        """`target` has the target table's types, which may be narrower than the candidates'."""
        self._columns = columns
        self._types = [target.get(column.name, column.pg) for column in columns]

    def name_in(
        self, error: EventError, changes: Sequence[Change], connection: Connection
    ) -> EventError:
        """Return the error with the name of the column, if a value of the event was refused."""
        if not isinstance(error, WriteError) or error.constraint:
            return error
        state = error.sqlstate or _DATA_EXCEPTION
        if not (state.startswith(_DATA_EXCEPTION) or state in READING_STATES):
            return error
        for change in changes:
            if isinstance(change, Write):
                for at in self._suspects(error, change.values, connection):
                    name, type_ = self._columns[at].name, self._types[at].declared
                    return WriteError(
                        f"{error} (column {name!r}, {type_})", sqlstate=error.sqlstate
                    )
        return error

    def _suspects(
        self, error: WriteError, values: Sequence[Any], connection: Connection
    ) -> Iterator[int]:
        known = [at for at, value in enumerate(values) if value is not None and value is not ABSENT]
        if error.sqlstate is None:
            yield from (at for at in known if not self._can_be_sent(at, values[at], connection))
            return
        yield from (at for at in known if self._is_too_long(at, values[at]))
        if error.sqlstate != _TRUNCATED:
            yield from (at for at in known if not self._can_be_cast(at, values[at], connection))

    def _is_too_long(self, at: int, value: Any) -> bool:
        type_ = self._types[at]
        if type_.length is None or not isinstance(value, str):
            return False
        text = value.rstrip(" ") if type_.is_builtin("varchar", "bpchar") else value
        return len(text) > type_.length

    def _can_be_cast(self, at: int, value: Any, connection: Connection) -> bool:
        try:
            with connection.transaction():
                query = f"SELECT %s::text::{self._types[at].base_cast}"
                connection.execute(query.encode(), (str(value),))
        except psycopg.Error as fault:
            if not isinstance(classify_error(fault), EventError):
                raise
            return False
        return True

    def _can_be_sent(self, at: int, value: Any, connection: Connection) -> bool:
        transformer = Transformer(connection)
        stage = connection.adapters.types[self._columns[at].stage_type]
        try:
            transformer.set_dumper_types([stage.oid], pq.Format.BINARY)
            transformer.dump_sequence([value], [PyFormat.BINARY])
        except (psycopg.Error, *VALUE_FAULTS):
            return False
        return True
