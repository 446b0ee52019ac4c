"""Read the keys of the table that a batch run writes, and remember those of its mapping."""

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

_STORED_KEYS = """
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
    """The key's columns in the order of an index; empty where the mapping has that order."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        candidates = self.declared.derived
        return candidates.key if candidates else self.declared.key

    @cached_property
    def _masked(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.mask is not None)

    @cached_property
    def source_columns(self) -> tuple[str, ...] | None:
        """The source columns that hold the key unchanged; None if it is computed."""
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
        """Return keys that the mapping may remove, as text, and the key after which to continue.

        With `groups`, return only keys of rows whose `Query.replaces` columns have these values.
        """
        if self.declared.shared_target:
            parameters = [self.mapping, *(last or ("",)), rows]
            found = connection.execute(self._stored_keys.encode(), parameters).fetchall()
            return [tuple(key) for _, *key in found], (found[-1][0],) if len(
                found
            ) == rows else None
        # Qualified, because ORDER BY takes an unqualified name for the selected text.
        key = ", ".join(f"t.{quoted(name)}" for name in self._page_order)
        texts = ", ".join(f"t.{quoted(name)}::text" for name in self.names)
        where, parameters = self._where(last, groups)
        query = f"SELECT {texts} FROM {self.table} t {where} ORDER BY {key} LIMIT {rows:d}"
        page = connection.execute(query.encode(), parameters).fetchall()
        return page, page[-1] if len(page) == rows else None

    @cached_property
    def _stored_keys(self) -> str:
        """SQL for the stored keys in the table's format: JSON has no type for times."""
        parts = {name: f"b.parts[{at}]" for at, name in enumerate(self.names, start=1)}
        texts = [f"coalesce(t.{quoted(name)}::text, {part})" for name, part in parts.items()]
        same = [f"t.{quoted(n)} = {part}::{self._type(n)}" for n, part in parts.items()]
        return (
            f"SELECT b.key, {', '.join(texts)} FROM ({_STORED_KEYS}) b "
            f"LEFT JOIN {self.table} t ON {' AND '.join(same)} ORDER BY b.key"
        )

    @property
    def _page_order(self) -> Sequence[str]:
        return self.index_order or self.names

    def _where(self, last: Key | None, groups: Collection[Key] | None) -> tuple[str, list[Any]]:
        # No mapping writes a row without a key.
        where = [f"{quoted(name)} IS NOT NULL" for name in self.names]
        parameters: list[Any] = []
        if last is not None:
            key = ", ".join(quoted(name) for name in self._page_order)
            after = ", ".join(f"%s::{self._type(name)}" for name in self._page_order)
            where.append(f"({key}) > ({after})")
            parameters += [last[self.names.index(name)] for name in self._page_order]
        if groups is not None:
            names = self.replaced
            arrays = ", ".join("%s::text[]" for _ in names)
            same = " AND ".join(
                f"t.{quoted(name)} = g.{quoted(name)}::{self._type(name)}" for name in names
            )
            wanted = f"unnest({arrays}) g({', '.join(map(quoted, names))})"
            where.append(f"EXISTS (SELECT FROM {wanted} WHERE {same})")
            parameters += [list(column) for column in zip(*groups, strict=True)]
        return f"WHERE {' AND '.join(where)}", parameters

    @property
    def replaced(self) -> tuple[str, ...]:
        return self.declared.query.replaces if self.declared.query else ()

    def format_keys(self, connection: Connection, keys: Sequence[Key]) -> list[Key]:
        """Return the keys that the table has, in its format, such as 1.00 for numeric(10,2)."""
        texts = ", ".join(f"t.{quoted(name)}::text" for name in self.names)
        query = f"SELECT {texts} FROM {self.joined}"
        return connection.execute(query.encode(), self.arrays(keys)).fetchall()

    def present(self, connection: Connection, keys: Sequence[Key]) -> set[int]:
        """Return the positions of the keys that the table has."""
        query = f"SELECT s._n - 1 FROM {self.joined}"
        return {n for (n,) in connection.execute(query.encode(), self.arrays(keys)).fetchall()}

    def remember(self, connection: Connection, keys: Sequence[Key]) -> None:
        """Store these as the mapping's keys."""
        query = (
            f"INSERT INTO sink.batch_key SELECT %s, {self.json_text} FROM {self.as_rows} "
            "ON CONFLICT DO NOTHING"
        )
        connection.execute(query.encode(), [self.mapping, *self.arrays(keys)])

    def forget(self, connection: Connection, keys: Sequence[Key]) -> None:
        """Forget removed keys, because another mapping may write rows with them later."""
        query = (
            f"DELETE FROM sink.batch_key WHERE mapping = %s AND key IN "
            f"(SELECT {self.json_text} FROM {self.as_rows})"
        )
        connection.execute(query.encode(), [self.mapping, *self.arrays(keys)])

    @cached_property
    def joined(self) -> str:
        """SQL that joins the keys `s`, numbered `_n` from 1, to their rows `t`; takes `arrays`."""
        return f"{self.as_rows} JOIN {self.table} t ON {self._is_same_key}"

    @cached_property
    def _is_same_key(self) -> str:
        return " AND ".join(f"t.{quoted(n)} = s.{quoted(n)}::{self._type(n)}" for n in self.names)

    @cached_property
    def as_rows(self) -> str:
        """SQL of keys as rows `s`, numbered `_n` from 1; takes `arrays`."""
        arrays = ", ".join("%s::text[]" for _ in self.names)
        names = ", ".join(quoted(name) for name in self.names)
        return f"unnest({arrays}) WITH ORDINALITY s({names}, _n)"

    @cached_property
    def json_text(self) -> str:
        """SQL of a key of `as_rows` as the text of a JSON array."""
        parts = ", ".join(
            self._pg(n).canonical(f"s.{quoted(n)}::{self._type(n)}") for n in self.names
        )
        return f"jsonb_build_array({parts})::text"

    def _type(self, name: str) -> str:
        return self._pg(name).unbound_cast

    def _pg(self, name: str) -> PgType:
        return next(column.pg for column in self.columns if column.name == name)

    @staticmethod
    def arrays(keys: Sequence[Key]) -> list[list[str]]:
        return [list(map(str, column)) for column in zip(*keys, strict=True)]
