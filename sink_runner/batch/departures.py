"""What leaves the target because a batch did not find it in the source.

A row that a batch saw leave, or did not see at all, may be back by now, and the event that
brought it back may have been applied.  So the source is asked once more, while no event of the
mapping can be applied; only what is still gone leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..applier import Connection
from ..catalog import quoted
from ..changes import Leave, Write
from ..message import Message
from ..plugin import TableMapping
from ..route import Batch
from ..row import TargetColumn
from ..statements import unbound
from .source import Source

Key = tuple[str, ...]
Prepare = Callable[[Sequence[Message]], Batch]

_BROUGHT = """
SELECT ARRAY(SELECT jsonb_array_elements_text(key::jsonb)), key FROM sink.batch_key
WHERE mapping = %s AND key > %s ORDER BY key LIMIT %s
"""


@dataclass(frozen=True)
class TargetKeys:
    """The keys of the table that a mapping writes: the target, or its candidates."""

    mapping: str
    declared: TableMapping
    table: str
    columns: Sequence[TargetColumn]

    @cached_property
    def names(self) -> tuple[str, ...]:
        candidates = self.declared.candidates
        return candidates.key if candidates else self.declared.key

    @cached_property
    def asked_as(self) -> tuple[str, ...] | None:
        """The source columns that hold the key as it is; None if it is made of something else."""
        by_name = {column.name: column.column for column in self.columns}
        found = []
        for name in self.names:
            column = by_name[name]
            if column.convert or column.lookups or not isinstance(column.source, str | None):
                return None
            found.append(column.source or name)
        return tuple(found)

    def pages(self, connection: Connection, rows: int) -> Iterator[list[Key]]:
        """All keys that the mapping may retire, so many at a time, as text."""
        last: Any = None
        while True:
            page, last = self._page(connection, last, rows)
            if page:
                yield page
            if len(page) < rows:
                return

    def _page(self, connection: Connection, last: Any, rows: int) -> tuple[list[Key], Any]:
        if self.declared.shared_target:
            found = connection.execute(_BROUGHT, (self.mapping, last or "", rows)).fetchall()
            return [tuple(key) for key, _ in found], found[-1][1] if found else last
        key = ", ".join(quoted(name) for name in self.names)
        texts = ", ".join(f"{quoted(name)}::text" for name in self.names)
        after = ", ".join(f"%s::{self._type(name)}" for name in self.names)
        where = f"WHERE ({key}) > ({after})" if last else ""
        query = f"SELECT {texts} FROM {self.table} {where} ORDER BY {key} LIMIT {rows:d}"
        page = connection.execute(query.encode(), last).fetchall()
        return page, page[-1] if page else last

    def present(self, connection: Connection, keys: Sequence[Key]) -> set[int]:
        """Which of the keys, by their place, the table has."""
        same = " AND ".join(f"t.{quoted(n)} = s.{quoted(n)}::{self._type(n)}" for n in self.names)
        query = f"SELECT s._n - 1 FROM {self._given} JOIN {self.table} t ON {same}"
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
    def _given(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.names)
        names = ", ".join(quoted(name) for name in self.names)
        return f"unnest({arrays}) WITH ORDINALITY s({names}, _n)"

    @cached_property
    def _json(self) -> str:
        parts = ", ".join(f"s.{quoted(name)}::{self._type(name)}" for name in self.names)
        return f"jsonb_build_array({parts})::text"

    def _type(self, name: str) -> str:
        return unbound(next(column.type for column in self.columns if column.name == name))

    @staticmethod
    def _arrays(keys: Sequence[Key]) -> list[list[str]]:
        return [list(map(str, column)) for column in zip(*keys, strict=True)]


class Departures:
    """Decides what leaves.  `asking` is a session with the source that sees what is so now."""

    def __init__(
        self, mapping: TableMapping, source: Source, keys: TargetKeys, asking: Connection
    ) -> None:
        self._mapping = mapping
        self._source = source
        self._keys = keys
        self._asking = asking

    def confirmed(
        self,
        connection: Connection,
        leaves: Sequence[Leave],
        writes: Sequence[Write],
        prepare: Prepare,
    ) -> list[Leave]:
        """Those of a chunk's leaves whose row still leaves.  A key that is also written stays."""
        kept = {write.key for write in writes}
        leaves = [leave for leave in leaves if leave.key not in kept]
        if not leaves or not self._mapping.events or not self._source.format.key:
            return leaves
        found = self._keys.present(connection, [_texts(leave.key) for leave in leaves])
        leaves = [leaves[at] for at in sorted(found)]
        return [leave for leave in leaves if leave.key in self._leaving(leaves, prepare)]

    def _leaving(self, leaves: Sequence[Leave], prepare: Prepare) -> set[tuple[Any, ...]]:
        """The keys whose rows leave, as the rows are now."""
        form = self._source.format
        keys = [form.key_of(leave.source) for leave in leaves]
        head = leaves[0].source.value[: form.head_size]
        rows = [form.message(head, line, 0) for line in self._source.again(self._asking, keys)]
        return {c.key for c in prepare(rows).changes if isinstance(c, Leave)}

    def brought(self, connection: Connection, writes: Sequence[Write]) -> None:
        """Remember what the mapping wrote, where others write the target, too."""
        if writes and self._mapping.shared_target:
            self._keys.remember(connection, [_texts(write.key) for write in writes])


def _texts(key: Sequence[Any]) -> Key:
    return tuple(map(str, key))
