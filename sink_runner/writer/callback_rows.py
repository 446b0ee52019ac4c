"""Target rows that came through a callback of the API and not from the source table.

Such a row looks like any other, and a full batch run removes rows that the source table does not
have.  So the runner remembers, by a hash of the target's key, which rows were written by an event
without a log position; an event or a batch run that finds the row in the table forgets it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import psycopg

from ..model.changes import Change, Key, Write
from ..model.dead_letter import DeadLetter
from ..plugin import TableMapping
from ..postgres.catalog import quoted
from ..postgres.target_column import TargetColumn
from .key_hashing import KeyText

Connection = psycopg.Connection[Any]

_ANY = "SELECT EXISTS (SELECT FROM sink.callback_row WHERE mapping = %s)"


class CallbackRows:
    """One mapping's rows in `sink.callback_row`, read and written in a writer's session."""

    def __init__(
        self, mapping: str, declared: TableMapping, columns: Sequence[TargetColumn]
    ) -> None:
        self._mapping = mapping
        names = (declared.derived or declared).key
        self._key = [column for name in names for column in columns if column.name == name]
        self._known = False

    def load(self, connection: Connection) -> None:
        """Read whether the mapping has any; until then, events of the table forget none."""
        self._known = connection.execute(_ANY, (self._mapping,)).fetchone() == (True,)

    def note(
        self,
        connection: Connection,
        callbacks: Collection[int],
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
    ) -> None:
        """Remember rows that callbacks have written; forget those that events of the table have.

        `callbacks` has the identities of the messages of callbacks.
        """
        if not (callbacks or self._known) or not changes:
            return
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        last: dict[Key, bool] = {}
        for change in changes:
            if id(change.source) not in failed:
                last[change.key] = isinstance(change, Write) and id(change.source) in callbacks
        self._remember(connection, [key for key, called in last.items() if called])
        self.forget(connection, [key for key, called in last.items() if not called])

    def among(self, connection: Connection, keys: Sequence[Sequence[Any]]) -> set[int]:
        """Return the indexes of the keys whose rows came through a callback."""
        if not keys:
            return set()
        query = (
            f"SELECT s._n - 1 FROM {self._given} JOIN sink.callback_row c "
            f"ON c.mapping = %s AND c.key = {self._hash}"
        )
        found = connection.execute(query.encode(), [*self._arrays(keys), self._mapping])
        return {at for (at,) in found.fetchall()}

    def forget(self, connection: Connection, keys: Sequence[Sequence[Any]]) -> None:
        """Forget rows that are in the source table or were removed."""
        if keys and self._known:
            query = (
                "DELETE FROM sink.callback_row WHERE mapping = %s AND key IN "
                f"(SELECT {self._hash} FROM {self._given})"
            )
            connection.execute(query.encode(), [self._mapping, *self._arrays(keys)])

    def _remember(self, connection: Connection, keys: Sequence[Key]) -> None:
        if keys:
            query = (
                f"INSERT INTO sink.callback_row SELECT %s, {self._hash} FROM {self._given} "
                "ON CONFLICT DO NOTHING"
            )
            connection.execute(query.encode(), [self._mapping, *self._arrays(keys)])
            self._known = True

    @cached_property
    def _given(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self._key)
        names = ", ".join(quoted(column.name) for column in self._key)
        return f"unnest({arrays}) WITH ORDINALITY s({names}, _n)"

    @cached_property
    def _hash(self) -> str:
        parts = ", ".join(c.pg.canonical(c.pg.read(f"s.{quoted(c.name)}")) for c in self._key)
        return KeyText.sql(f"jsonb_build_array({parts})")

    @staticmethod
    def _arrays(keys: Sequence[Sequence[Any]]) -> list[list[str]]:
        return [list(map(str, column)) for column in zip(*keys, strict=True)]
