"""The SQL that writes a batch: built once for a mapping, run for every batch.

A batch is staged by COPY in a temporary table and goes on from there as sets, in key order,
so that two runners can't lock each other out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..chain.row import TargetColumn
from ..plugin import Column, Conflict, Strategy
from .catalog import quoted
from .hidden_keys import KeyText

_LENGTH = re.compile(r" ?\([^)]*\)")
# Without a length these two would mean one character and one bit.
_UNBOUND = {"char": "bpchar", "character": "bpchar", "bit": '"bit"'}
# Types whose equality is none, or of something else, such as the area.
_COMPARED_AS = {
    "json": "jsonb",
    **dict.fromkeys(("xml", "point", "box", "path", "polygon", "circle"), "text"),
}

POSITION = "_position"
NOW = "(clock_timestamp() AT TIME ZONE 'UTC')"


@dataclass(frozen=True)
class Statements:
    """SQL over `target`, a quoted name, for rows staged as `columns` with `key`."""

    mapping: str
    target: str
    columns: Sequence[TargetColumn]
    key: tuple[str, ...]
    conflict: Conflict
    key_text: KeyText
    """As which the key is kept in the runner's own tables."""
    unstaged: Sequence[Column] = ()
    positioned: bool = False
    """The table keeps the log position in a column of its own, which decides between rows of
    the same version."""

    @property
    def stage(self) -> str:
        return quoted(f"stage_{self.mapping}")

    @cached_property
    def create_stage(self) -> str:
        columns = [f"{quoted(c.name)} {c.stage_type}" for c in self.columns]
        columns += ["_keep int8", "_position int8"]
        return f"CREATE TEMP TABLE {self.stage} ({', '.join(columns)}) ON COMMIT DELETE ROWS"

    def copy(self, *, marked: bool) -> str:
        """`marked` rows end with what to keep and the position, which most writes don't need."""
        names = [quoted(c.name) for c in self.columns]
        names += ["_keep", "_position"] if marked else []
        return f"COPY {self.stage} ({', '.join(names)}) FROM STDIN (FORMAT binary)"

    def stage_types(self, *, marked: bool) -> list[str]:
        return [c.stage_type for c in self.columns] + (["int8", "int8"] if marked else [])

    @property
    def clear_stage(self) -> str:
        return f"DELETE FROM {self.stage}"

    @cached_property
    def pairs(self) -> str:
        """Each staged row beside the target's row of its key, which is locked, numbered from 0."""
        return self.pairs_and()

    def pairs_and(self, *more: str) -> str:
        """`pairs`, and then more columns of the target."""
        new = ", ".join(self._cast(c) for c in self.columns)
        old = ", ".join(f"t.{quoted(name)}" for name in [*(c.name for c in self.columns), *more])
        numbered = f"SELECT *, row_number() OVER (ORDER BY ctid) - 1 AS _number FROM {self.stage}"
        return (
            f"SELECT s._number, {new}, {old} FROM {self.target} t "
            f"JOIN ({numbered}) s ON {self._same_key} "
            f"ORDER BY {', '.join(f't.{quoted(n)}' for n in self.key)} FOR UPDATE OF t"
        )

    # -- rows that are whole ---------------------------------------------------------------

    def upsert(self, *, remembered: bool) -> str:
        """Insert the staged rows, or let the newer of two win; `remembered` heeds deletions."""
        return (
            f"{self._insert(remembered=remembered)} ON CONFLICT ({self._key}) {self._on_conflict}"
        )

    def insert(self, *, remembered: bool) -> str:
        """Insert the staged rows whose key is new."""
        return f"{self._insert(remembered=remembered)} ON CONFLICT ({self._key}) DO NOTHING"

    def _insert(self, *, remembered: bool) -> str:
        names = [c.name for c in self.columns] + [c.name for c in self.unstaged]
        values = [self._cast(c) for c in self.columns] + [NOW for _ in self.unstaged]
        if self.positioned:
            names.append(POSITION)
            values.append(f"s.{POSITION}")
        where = f" WHERE {self._not_deleted}" if remembered else ""
        order = ", ".join(str(names.index(name) + 1) for name in self.key)
        return (
            f"INSERT INTO {self.target} AS t ({_list(names)}) "
            f"SELECT {', '.join(values)} FROM {self.stage} s{where} ORDER BY {order}"
        )

    @cached_property
    def _on_conflict(self) -> str:
        if self.conflict.strategy is Strategy.INSERT_ONCE or not self._updated:
            return "DO NOTHING"
        sets = [f"{quoted(c.name)} = excluded.{quoted(c.name)}" for c in self._updated]
        sets += self._also_set("excluded")
        new = {c.name: f"excluded.{quoted(c.name)}" for c in self._updated}
        newer = self._newer({**new, POSITION: f"excluded.{POSITION}"})
        return f"DO UPDATE SET {', '.join(sets)} WHERE {newer} AND {self._differs(new)}"

    # -- rows that keep some of the target's columns ------------------------------------------

    def patch(self, *, merge: bool, remembered: bool) -> str:
        """Update existing rows, but not the columns whose bit is set in ``_keep``.

        `merge` also leaves a column alone where the new value is NULL; not so the version, or
        a row without a time would pass for one as new as the target's.  What brings no value at
        all then leaves the row as it is, its version too, and so does a read of the version that
        the row has already: what differs since is the target's own doing.
        """
        new = {c.name: self._kept(c, merge=merge) for c in self._updated}
        sets = [f"{quoted(name)} = {value}" for name, value in new.items()]
        sets += self._also_set("s")
        newer = self._newer({**new, POSITION: f"s.{POSITION}"})
        where = [self._same_key, newer, self._differs(new)]
        if merge:
            version = self.conflict.version or ""
            later = f"t.{quoted(version)} IS NULL OR {new[version]} > t.{quoted(version)}"
            where += [self._brings, f"(s._keep >= 0 OR {later})"]
        if remembered:
            where.append(self._not_deleted)
        return (
            f"UPDATE {self.target} t SET {', '.join(sets)} "
            f"FROM {self.stage} s WHERE {' AND '.join(where)}"
        )

    def _kept(self, column: TargetColumn, *, merge: bool) -> str:
        old, new = f"t.{quoted(column.name)}", self._cast(column)
        if merge and column.name != self.conflict.version:
            new = f"coalesce({new}, {old})"
        bit = 1 << self._bit(column.name)
        return f"CASE WHEN s._keep & {bit} <> 0 THEN {old} ELSE {new} END"

    @property
    def _brings(self) -> str:
        """Is there a value, not NULL and not to be left alone, in a column of the source's?"""
        bringing = [
            f"(s._keep & {1 << self._bit(c.name)} = 0 AND s.{quoted(c.name)} IS NOT NULL)"
            for c in self._updated
            if c.column.sources and c.name != self.conflict.version
        ]
        return f"({' OR '.join(bringing) or 'true'})"

    def _bit(self, name: str) -> int:
        return next(i for i, column in enumerate(self.columns) if column.name == name)

    def unmatched(self, *, remembered: bool) -> str:
        """Is there a staged row that the target lacks, though nothing says that it was deleted?"""
        where = f" AND {self._not_deleted}" if remembered else ""
        return (
            f"SELECT EXISTS (SELECT FROM {self.stage} s WHERE NOT EXISTS "
            f"(SELECT FROM {self.target} t WHERE {self._same_key}){where})"
        )

    # -- keys that leave; each key column is an array of text ---------------------------------

    @cached_property
    def delete(self) -> str:
        return f"DELETE FROM {self.target} t USING {self._keys} WHERE {self._same_key}"

    def mark(self, values: Mapping[str, Any]) -> str:
        """Set columns; takes the values before the keys and once more after them."""
        sets = [f"{quoted(name)} = %s" for name in values]
        changes = [self._changes(name) for name in values]
        return (
            f"UPDATE {self.target} t SET {', '.join(sets)} FROM {self._keys} "
            f"WHERE {self._same_key} AND ({' OR '.join(changes)})"
        )

    def _changes(self, name: str) -> str:
        type_ = self._types.get(name, "")
        new = comparable("%s", type_)
        return f"{comparable(f't.{quoted(name)}', type_)} IS DISTINCT FROM {new}"

    @cached_property
    def remember_deleted(self) -> str:
        """Takes the mapping's name, then the keys, then the positions."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, deleted_at) "
            f"SELECT %s, {self._key_text}, s._position, now() FROM {self._keys_at} "
            "ON CONFLICT (mapping, key) DO UPDATE "
            "SET position = excluded.position, deleted_at = excluded.deleted_at "
            "WHERE v.position < excluded.position"
        )

    # -- places in the log of rows that are there ---------------------------------------------

    @cached_property
    def stale(self) -> str:
        """Takes the keys, the positions and the mapping's name; numbers, from 0, those for which
        something later is remembered."""
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return (
            f"SELECT s._number - 1 FROM unnest({arrays}, %s::int8[]) "
            f"WITH ORDINALITY AS s({_list(self.key)}, _position, _number) "
            f"JOIN sink.row_version v ON v.mapping = %s AND v.key = {self._key_text} "
            "WHERE v.position > s._position "
            "OR (v.position = s._position AND v.deleted_at IS NOT NULL)"
        )

    @cached_property
    def seen(self) -> str:
        """As `stale`, but for those too that are themselves what is remembered."""
        return self.stale.partition("WHERE")[0] + "WHERE v.position >= s._position"

    @cached_property
    def remember(self) -> str:
        """Takes the mapping's name, then the keys, then the positions."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position) "
            f"SELECT %s, {self._key_text}, s._position FROM {self._keys_at} "
            "ON CONFLICT (mapping, key) DO UPDATE "
            "SET position = excluded.position, deleted_at = NULL "
            "WHERE v.position <= excluded.position"
        )

    @cached_property
    def _keys(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return f"unnest({arrays}) AS s({_list(self.key)})"

    @cached_property
    def _keys_at(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return f"unnest({arrays}, %s::int8[]) AS s({_list(self.key)}, _position)"

    @cached_property
    def existing(self) -> str:
        """The rows of some keys."""
        return f"{self.target} t JOIN {self._keys} ON {self._same_key}"

    # -- parts -----------------------------------------------------------------------------------

    @cached_property
    def _updated(self) -> list[TargetColumn]:
        return [c for c in self.columns if c.name not in self.key and not c.column.on_insert]

    def _also_set(self, source: str) -> list[str]:
        sets = [f"{quoted(c.name)} = {NOW}" for c in self.unstaged]
        if self.positioned:
            sets.append(f"{POSITION} = {source}.{POSITION}")
        return sets

    @property
    def _key(self) -> str:
        return _list(self.key)

    @cached_property
    def _types(self) -> dict[str, str]:
        return {c.name: c.type for c in self.columns}

    @cached_property
    def _same_key(self) -> str:
        return " AND ".join(
            f"t.{quoted(name)} = s.{quoted(name)}::{unbound(self._types[name])}"
            for name in self.key
        )

    @cached_property
    def _key_text(self) -> str:
        parts = ", ".join(f"s.{quoted(name)}::{unbound(self._types[name])}" for name in self.key)
        return self.key_text.sql(f"jsonb_build_array({parts})")

    @cached_property
    def _not_deleted(self) -> str:
        return (
            "NOT EXISTS (SELECT FROM sink.row_version v WHERE v.mapping = %(mapping)s "
            f"AND v.key = {self._key_text} AND v.position >= s._position "
            "AND v.deleted_at IS NOT NULL)"
        )

    def _newer(self, new: Mapping[str, str]) -> str:
        later = f"{new[POSITION]} >= t.{POSITION}" if self.positioned else "true"
        version = self.conflict.version
        if version is None:
            return later
        old = f"t.{quoted(version)}"
        return (
            f"CASE WHEN {new[version]} IS NOT DISTINCT FROM {old} THEN {later} "
            f"ELSE {old} IS NULL OR {new[version]} > {old} END"
        )

    def _differs(self, new: Mapping[str, str]) -> str:
        old = ", ".join(comparable(f"t.{quoted(name)}", self._types[name]) for name in new)
        fresh = ", ".join(comparable(value, self._types[name]) for name, value in new.items())
        return f"ROW({old}) IS DISTINCT FROM ROW({fresh})"

    @staticmethod
    def _cast(column: TargetColumn) -> str:
        value = f"s.{quoted(column.name)}"
        if column.type == column.stage_type or column.stage_type != "text":
            return value
        return f"{value}::{unbound(column.type)}"


def unbound(type_: str) -> str:
    """The type without its length.

    A cast cuts off in silence what is longer; the assignment that follows it complains.
    """
    type_, array, rest = _LENGTH.sub("", type_).partition("[")
    return _UNBOUND.get(type_, type_) + array + rest


def comparable(value: str, type_: str) -> str:
    return f"({value})::{_COMPARED_AS[type_]}" if type_ in _COMPARED_AS else value


def _list(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
