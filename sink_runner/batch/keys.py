"""The keys of the table that a batch writes, and those that its mapping brought there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..plugin import TableMapping
from ..postgres.catalog import quoted
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from ..writer.committer import Connection

Key = tuple[str, ...]

_BROUGHT = """
SELECT key, ARRAY(SELECT jsonb_array_elements_text(key::jsonb)) AS parts FROM sink.batch_key
WHERE mapping = %s AND key > %s ORDER BY key LIMIT %s
"""


@dataclass(frozen=True)
class TargetKeys:
    """The keys of the table that a mapping writes: the target, or its candidates."""

    mapping: str
    declared: TableMapping
    table: str
    columns: Sequence[TargetColumn]
    index_order: Sequence[str] = ()
    """The key's columns as an index orders them; none where the mapping's order is the index's."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        candidates = self.declared.derived
        return candidates.key if candidates else self.declared.key

    @cached_property
    def _masked(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.mask is not None)

    @cached_property
    def source_columns(self) -> tuple[str, ...] | None:
        """The source columns that hold the key as it is; None if it is made of something else."""
        by_name = {column.name: column.column for column in self.columns}
        found = []
        for name in self.names:
            column = by_name[name]
            if column.convert or column.lookups or not isinstance(column.source, str | None):
                return None
            if name in self._masked or column.max_length is not None or column.default is not None:
                return None
            found.append(column.source or name)
        return tuple(found)

    def page(
        self, last: Key | None, rows: int, groups: Collection[Key] | None, connection: Connection
    ) -> tuple[list[Key], Key | None]:
        """Some of the keys that the mapping may retire, as text, and where the next page begins.

        `groups`: only those of rows whose `Query.replaces` are among them.
        """
        if self.declared.shared_target:
            parameters = [self.mapping, *(last or ("",)), rows]
            found = connection.execute(self._brought.encode(), parameters).fetchall()
            return [tuple(key) for _, *key in found], (found[-1][0],) if len(
                found
            ) == rows else None
        # By the columns: a bare name would be the text that is selected under it.
        key = ", ".join(f"t.{quoted(name)}" for name in self._order)
        texts = ", ".join(f"t.{quoted(name)}::text" for name in self.names)
        where, parameters = self._only(last, groups)
        query = f"SELECT {texts} FROM {self.table} t {where} ORDER BY {key} LIMIT {rows:d}"
        page = connection.execute(query.encode(), parameters).fetchall()
        return page, page[-1] if len(page) == rows else None

    @cached_property
    def _brought(self) -> str:
        """What the mapping brought, as the table spells it where it has it: JSON has no time."""
        parts = {name: f"b.parts[{at}]" for at, name in enumerate(self.names, start=1)}
        texts = [f"coalesce(t.{quoted(name)}::text, {part})" for name, part in parts.items()]
        same = [f"t.{quoted(n)} = {part}::{self._type(n)}" for n, part in parts.items()]
        return (
            f"SELECT b.key, {', '.join(texts)} FROM ({_BROUGHT}) b "
            f"LEFT JOIN {self.table} t ON {' AND '.join(same)} ORDER BY b.key"
        )

    @property
    def _order(self) -> Sequence[str]:
        return self.index_order or self.names

    def _only(self, last: Key | None, groups: Collection[Key] | None) -> tuple[str, list[Any]]:
        # A row without a key is none that a mapping brought.
        where = [f"{quoted(name)} IS NOT NULL" for name in self.names]
        parameters: list[Any] = []
        if last is not None:
            key = ", ".join(quoted(name) for name in self._order)
            after = ", ".join(f"%s::{self._type(name)}" for name in self._order)
            where.append(f"({key}) > ({after})")
            parameters += [last[self.names.index(name)] for name in self._order]
        if groups is not None:
            names = self.replaced
            arrays = ", ".join("%s::text[]" for _ in names)
            same = " AND ".join(
                f"t.{quoted(name)} = g.{quoted(name)}::{self._type(name)}" for name in names
            )
            given = f"unnest({arrays}) g({', '.join(map(quoted, names))})"
            where.append(f"EXISTS (SELECT FROM {given} WHERE {same})")
            parameters += [list(column) for column in zip(*groups, strict=True)]
        return f"WHERE {' AND '.join(where)}", parameters

    @property
    def replaced(self) -> tuple[str, ...]:
        return self.declared.query.replaces if self.declared.query else ()

    def spelled(self, connection: Connection, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys that the table has, as it spells them: a numeric(10,2) 1 as 1.00."""
        texts = ", ".join(f"t.{quoted(name)}::text" for name in self.names)
        query = f"SELECT {texts} FROM {self._given} JOIN {self.table} t ON {self._same}"
        return connection.execute(query.encode(), self._arrays(keys)).fetchall()

    def present(self, connection: Connection, keys: Sequence[Key]) -> set[int]:
        """Which of the keys, by their place, the table has."""
        query = f"SELECT s._n - 1 FROM {self._given} JOIN {self.table} t ON {self._same}"
        return {n for (n,) in connection.execute(query.encode(), self._arrays(keys)).fetchall()}

    def remember(self, connection: Connection, keys: Sequence[Key]) -> None:
        """Note that the mapping brought these."""
        query = (
            f"INSERT INTO sink.batch_key SELECT %s, {self._json} FROM {self._given} "
            "ON CONFLICT DO NOTHING"
        )
        connection.execute(query.encode(), [self.mapping, *self._arrays(keys)])

    def forget(self, connection: Connection, keys: Sequence[Key]) -> None:
        """They are retired: what comes under these keys from now on is somebody else's."""
        query = (
            f"DELETE FROM sink.batch_key WHERE mapping = %s AND key IN "
            f"(SELECT {self._json} FROM {self._given})"
        )
        connection.execute(query.encode(), [self.mapping, *self._arrays(keys)])

    @cached_property
    def _same(self) -> str:
        return " AND ".join(f"t.{quoted(n)} = s.{quoted(n)}::{self._type(n)}" for n in self.names)

    @cached_property
    def _given(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.names)
        names = ", ".join(quoted(name) for name in self.names)
        return f"unnest({arrays}) WITH ORDINALITY s({names}, _n)"

    @cached_property
    def _json(self) -> str:
        parts = ", ".join(
            self._pg(n).canonical(f"s.{quoted(n)}::{self._type(n)}") for n in self.names
        )
        return f"jsonb_build_array({parts})::text"

    def _type(self, name: str) -> str:
        return self._pg(name).unbound_cast

    def _pg(self, name: str) -> PgType:
        return next(column.pg for column in self.columns if column.name == name)

    @staticmethod
    def _arrays(keys: Sequence[Key]) -> list[list[str]]:
        return [list(map(str, column)) for column in zip(*keys, strict=True)]
