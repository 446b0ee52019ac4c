"""Compare what the source results in with the target's rows, staged in a temporary table there.

The session writes only temporary tables, and waits for a lock at most a second, so that it hardly
delays an application that locks the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any

import psycopg

from ..batch.keys import Key, TargetKeys
from ..batch.row_differences import RowDifferences
from ..config.dsn import Dsn
from ..errors import EventError
from ..model.changes import Write
from ..plugin import TableMapping
from ..postgres.catalog import quoted
from ..postgres.error_classes import classify_error
from ..postgres.session import Connection, connect
from ..postgres.target_column import TargetColumn
from ..writer.encryption import Encryptor
from ..writer.key_hashing import KeyText
from .suspect import Kind, Suspect

_STAGE = "reconcile_stage"
_SETTINGS = (
    "SET default_transaction_read_only = on",
    "SET lock_timeout = '1s'",
    # Without statistics, the planner overestimates the rows of the temporary table and would read
    # all of the target for each chunk.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)


@contextmanager
def open_target(
    dsn: Dsn, mapping: str, columns: Sequence[TargetColumn], encryptor: Encryptor, *creates: str
) -> Iterator[Connection]:
    """Open a session for a `Comparison`, which writes only temporary tables.

    `creates` are statements that create further temporary tables.
    """
    with connect(dsn, f"sink-runner reconcile {mapping}") as connection:
        KeyText(unmasked=False, encryptor=encryptor).prepare(connection)
        names = ", ".join(f"{quoted(column.name)} text" for column in columns)
        create = f"CREATE TEMP TABLE {_STAGE} (_number int, {names}) ON COMMIT DELETE ROWS"
        for statement in (create, *creates, *_SETTINGS):
            connection.execute(statement.encode())
        yield connection


class Comparison:
    """Compares the rows of one mapping in a session of `open_target`."""

    def __init__(self, connection: Connection, mapping: TableMapping, keys: TargetKeys) -> None:
        self._connection = connection
        self._mapping = mapping
        self._keys = keys
        self._sql = RowDifferences(mapping, keys)

    def compare(self, writes: Sequence[Write]) -> list[Suspect]:
        """Return the rows that are missing or different in the target."""
        if not writes:
            return []
        try:
            with self._connection.transaction():
                self._stage(writes)
                found = self._connection.execute(self._query.encode()).fetchall()
        except psycopg.Error as fault:
            if not isinstance(classify_error(fault), EventError):
                raise
            if len(writes) == 1:
                return [Suspect(kind=Kind.REFUSED, key=writes[0].key, change=writes[0])]
            half = len(writes) // 2
            return self.compare(writes[:half]) + self.compare(writes[half:])
        return [self._make_suspect(writes[number], *row) for number, *row in found]

    def _stage(self, writes: Sequence[Write]) -> None:
        # An earlier call in the same outer transaction may have left rows.
        self._connection.execute(f"DELETE FROM {_STAGE}".encode())
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {_STAGE} FROM STDIN".encode()) as copy,
        ):
            for number, write in enumerate(writes):
                texts = [None if value is None else str(value) for value in write.values]
                copy.write_row([number, *texts])

    @cached_property
    def _query(self) -> str:
        """SQL for the staged rows that are missing or different, with the columns that differ."""
        sql = self._sql
        differs = ", ".join(map(sql.differs, sql.compared))
        array = f"ARRAY[{differs}]::boolean[]"
        superseded = sql.is_superseded
        return (
            f"SELECT * FROM (SELECT s._number, {sql.exists} AS _exists, {superseded} AS _newer, "
            f"{array} AS _differs FROM {_STAGE} s LEFT JOIN {self._keys.table} t "
            f"ON {sql.same_key}) c WHERE NOT _exists OR true = ANY (_differs) ORDER BY 1"
        )

    def _make_suspect(
        self,
        write: Write,
        exists: bool,  # noqa: FBT001 - of a row of the query
        newer: bool,  # noqa: FBT001
        differs: Sequence[bool],
    ) -> Suspect:
        if not exists:
            return Suspect(kind=Kind.MISSING, key=write.key, change=write)
        names = [column.name for column in self._sql.compared]
        columns = tuple(name for name, differ in zip(names, differs, strict=True) if differ)
        kind = Kind.NEWER if newer and self._may_be_newer(write) else Kind.DIFFERENT
        return Suspect(kind=kind, key=write.key, columns=columns, change=write)

    def _may_be_newer(self, write: Write) -> bool:
        """Whether the target's version may be from another writer or another source row."""
        return self._mapping.conflict_detection is not None or write.owner is not None

    def present(self, keys: Sequence[Key]) -> list[Key]:
        """Return those of some keys that the table has."""
        if not keys:
            return []
        found = self._keys.present(self._connection, keys)
        return [keys[at] for at in sorted(found)]

    def unmarked(self, keys: Sequence[Key], marks: Mapping[str, Any]) -> list[Key]:
        """Return those whose row does not have the values that mark it as removed."""
        if not keys or not marks:
            return list(keys)
        differs = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM %s" for name in marks)
        query = f"SELECT s._n - 1 FROM {self._keys.joined} WHERE {differs} ORDER BY 1"
        parameters = [*self._keys.arrays(keys), *marks.values()]
        found = self._connection.execute(query.encode(), parameters)
        return [keys[at] for at in chain.from_iterable(found)]
