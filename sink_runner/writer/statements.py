"""Build the SQL that writes a batch, once for a mapping.

A batch is staged by COPY in a temporary table and written from there in sets, in the order of the
keys, so that two runners cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..model.changes import KEEP_BITS
from ..plugin import Column, Conflict, Strategy
from ..postgres.catalog import quoted
from ..postgres.comparison import as_base, differ, stored
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from .key_hashing import KeyText
from .log_position import LSN_COLUMN, ORDINAL_COLUMN, STAGED, TARGET

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
    """The form of the key in the runner's own tables."""
    unstaged: Sequence[Column] = ()
    target_types: Mapping[str, PgType] = field(default_factory=dict)
    """The types of the target's columns, any of which a removal may set."""
    positioned: bool = False
    """Whether the table has a column with the log position, which decides between rows of the
    same version."""

    @property
    def stage(self) -> str:
        return quoted(f"stage_{self.mapping}")

    @cached_property
    def keeps(self) -> tuple[str, ...]:
        """The staged columns with the bits of `Write.keep`."""
        more = range(1, -(-len(self.columns) // KEEP_BITS))
        return ("_keep", *(f"_keep_{at}" for at in more))

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        """The control columns that a row may be staged with; each is a bigint."""
        return (*self.keeps, LSN_COLUMN, ORDINAL_COLUMN)

    @cached_property
    def create_stage(self) -> str:
        columns = [f"{quoted(c.name)} {c.stage_type}" for c in self.columns]
        columns += [f"{name} int8" for name in self._controls]
        return f"CREATE TEMP TABLE {self.stage} ({', '.join(columns)}) ON COMMIT DELETE ROWS"

    def copy(self, *, controlled: bool) -> str:
        """Return the COPY statement; `controlled` rows end with the control columns."""
        names = [quoted(c.name) for c in self.columns]
        names += self._controls if controlled else ()
        return f"COPY {self.stage} ({', '.join(names)}) FROM STDIN (FORMAT binary)"

    def stage_types(self, *, controlled: bool) -> list[str]:
        types = [c.stage_type for c in self.columns]
        return types + ["int8"] * len(self._controls) if controlled else types

    @property
    def clear_stage(self) -> str:
        return f"DELETE FROM {self.stage}"

    # -- whole rows ------------------------------------------------------------------------

    @property
    def updates(self) -> bool:
        """Whether an existing row may be updated."""
        return self.conflict.strategy is not Strategy.INSERT_ONCE and bool(self._updated)

    @cached_property
    def upsert(self) -> str:
        """Insert the staged rows, or update older ones; not for a `positioned` table."""
        return f"{self._insert} ON CONFLICT ({self._key}) {self._on_conflict}"

    @cached_property
    def insert(self) -> str:
        """Insert the staged rows whose key is new."""
        return f"{self._insert} ON CONFLICT ({self._key}) DO NOTHING"

    @property
    def _insert(self) -> str:
        names = [c.name for c in self.columns] + [c.name for c in self.unstaged]
        values = [self._cast(c) for c in self.columns] + [NOW for _ in self.unstaged]
        if self.positioned:
            names += [LSN_COLUMN, ORDINAL_COLUMN]
            values += [STAGED.lsn, STAGED.stored_ordinal]
        order = ", ".join(str(names.index(name) + 1) for name in self.key)
        return (
            f"INSERT INTO {self.target} AS t ({_list(names)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {', '.join(values)} FROM {self.stage} s ORDER BY {order}"
        )

    @cached_property
    def _on_conflict(self) -> str:
        if not self.updates:
            return "DO NOTHING"
        sets = [f"{quoted(c.name)} = excluded.{quoted(c.name)}" for c in self._updated]
        sets += self._also_set()
        new = {c.name: f"excluded.{quoted(c.name)}" for c in self._updated}
        newer = self._newer(new)
        changed = differ([f"t.{quoted(name)}" for name in new], list(new.values()))
        return f"DO UPDATE SET {', '.join(sets)} WHERE {newer} AND {changed}"

    # -- rows that keep some of the target's columns ------------------------------------------

    def patch(self, *, merge: bool) -> str:
        """Update existing rows, but not the columns whose bit is set in ``_keep``.

        `merge` also keeps a column whose new value is NULL, apart from the version: a row without
        a version would otherwise count as new as the target's.  A staged row without any value
        then keeps the whole row, and so does a read of the version that the row already has: its
        differences are changes of the target.
        """
        new = {c.name: self._kept(c, merge=merge) for c in self._updated}
        sets = [f"{quoted(name)} = {value}" for name, value in new.items()]
        sets += self._also_set()
        fresh = {c.name: self._kept(c, merge=merge, as_stored=True) for c in self._updated}
        newer = self._newer(fresh)
        old = [as_base(f"t.{quoted(c.name)}", c.pg) for c in self._updated]
        where = [self.same_key, newer, differ(old, list(fresh.values()))]
        if merge:
            version = self.conflict.version or ""
            later = f"t.{quoted(version)} IS NULL OR {fresh[version]} > t.{quoted(version)}"
            where += [self._brings, f"(s._keep >= 0 OR {later})"]
        return (
            f"UPDATE {self.target} t SET {', '.join(sets)} "
            f"FROM {self.stage} s WHERE {' AND '.join(where)}"
        )

    def _kept(self, column: TargetColumn, *, merge: bool, as_stored: bool = False) -> str:
        """The new value of an existing row, as the column stores it or as it was staged."""
        old, new = f"t.{quoted(column.name)}", self._cast(column)
        if as_stored:
            old, new = as_base(old, column.pg), stored(new, column.pg)
        if merge and column.name != self.conflict.version:
            new = f"coalesce({new}, {old})"
        return f"CASE WHEN {self._keeps(column.name)} <> 0 THEN {old} ELSE {new} END"

    @property
    def _brings(self) -> str:
        """SQL: has the staged row a value, not NULL and not kept, in a column of the source?"""
        bringing = [
            f"({self._keeps(c.name)} = 0 AND s.{quoted(c.name)} IS NOT NULL)"
            for c in self._updated
            if c.column.sources and c.name not in {*self.key, self.conflict.version}
        ]
        return f"({' OR '.join(bringing) or 'true'})"

    def _keeps(self, name: str) -> str:
        """SQL that is not zero if a staged row keeps the column."""
        at = next(i for i, column in enumerate(self.columns) if column.name == name)
        word, bit = divmod(at, KEEP_BITS)
        return f"s.{self.keeps[word]} & {1 << bit}"

    @cached_property
    def outdated(self) -> str:
        """Count the staged rows that are older than the target's row; run it after the write."""
        newer = "true"
        for column in self.columns:
            if column.name == self.conflict.version:
                new = self._kept(column, merge=False, as_stored=True)
                newer = self._newer({column.name: new})
        return (
            f"SELECT count(*) FROM {self.stage} s JOIN {self.target} t ON {self.same_key} "
            f"WHERE ({newer}) IS NOT TRUE"
        )

    @cached_property
    def unmatched(self) -> str:
        """Return whether a staged row has a key that the target lacks."""
        return (
            f"SELECT EXISTS (SELECT FROM {self.stage} s WHERE NOT EXISTS "
            f"(SELECT FROM {self.target} t WHERE {self.same_key}))"
        )

    # -- keys to remove; each key column is an array of text ----------------------------------

    @cached_property
    def delete(self) -> str:
        """Delete rows; returns the number, from 0, of each key that had a row, and its version."""
        version = self.conflict.version
        old = "NULL" if version is None else f"t.{quoted(version)}::text"
        return (
            f"DELETE FROM {self.target} t USING {self.given_keys()} WHERE {self.same_key} "
            f"RETURNING s._number - 1, {old}"
        )

    def set_columns(self, values: Mapping[str, Any]) -> str:
        """Set columns of rows; takes the values, then the keys."""
        types = [self.all_types[name] for name in values]
        given = [f"%s::{pg.unbound_cast} AS m{at}" for at, pg in enumerate(types)]
        sets = [f"{quoted(name)} = m.m{at}" for at, name in enumerate(values)]
        new = [stored(f"m.m{at}", pg) for at, pg in enumerate(types)]
        old = [as_base(f"t.{quoted(n)}", pg) for n, pg in zip(values, types, strict=True)]
        return (
            f"UPDATE {self.target} t SET {', '.join(sets)} "
            f"FROM (SELECT {', '.join(given)}) m, {self.given_keys()} "
            f"WHERE {self.same_key} AND {differ(old, new)}"
        )

    @cached_property
    def existing(self) -> str:
        """The rows of the given keys."""
        return f"{self.target} t JOIN {self.given_keys()} ON {self.same_key}"

    def given_keys(self, *more: str) -> str:
        """SQL of keys and of `more`, each an array of text, as `s` with a `_number` from 1."""
        return _unnest([*map(quoted, self.key), *more], ["text"] * (len(self.key) + len(more)))

    def given_changes(self, *more: str) -> str:
        """As `given_keys`, with arrays of LSNs and of ordinals between the keys and `more`."""
        names = [*map(quoted, self.key), LSN_COLUMN, ORDINAL_COLUMN, *more]
        texts = ["text"] * len(self.key)
        return _unnest(names, [*texts, "int8", "int8", *("text" for _ in more)])

    # -- parts -----------------------------------------------------------------------------------

    @cached_property
    def _updated(self) -> list[TargetColumn]:
        """The columns that an update sets: also a key that may have another spelling."""
        own = {name for name in self.key if self.types[name].is_exact}
        return [c for c in self.columns if c.name not in own and not c.column.insert_only]

    def _also_set(self) -> list[str]:
        sets = [f"{quoted(c.name)} = {NOW}" for c in self.unstaged]
        if self.positioned:
            sets.append(STAGED.replace(TARGET))
        return sets

    @property
    def _key(self) -> str:
        return _list(self.key)

    @cached_property
    def all_types(self) -> dict[str, PgType]:
        return {**self.target_types, **self.types}

    @cached_property
    def types(self) -> dict[str, PgType]:
        return {c.name: c.pg for c in self.columns}

    @cached_property
    def same_key(self) -> str:
        return " AND ".join(f"t.{quoted(name)} = {self._staged_key(name)}" for name in self.key)

    def _staged_key(self, name: str) -> str:
        return self.types[name].read(f"s.{quoted(name)}")

    @property
    def has_exact_key(self) -> bool:
        return all(self.types[name].is_exact for name in self.key)

    @cached_property
    def key_numbers(self) -> str:
        """Takes the keys; returns the number of each, from 0, and one that equal keys share."""
        order = ", ".join(map(self._staged_key, self.key))
        return (
            f"SELECT s._number - 1, dense_rank() OVER (ORDER BY {order}) FROM {self.given_keys()}"
        )

    @cached_property
    def key_hash(self) -> str:
        """SQL of the key of `s` in the form of the runner's own tables."""
        return self.hash_of()

    def hash_of(self, *more: str) -> str:
        """SQL of a hash of the key of `s` and of further expressions."""
        parts = [self.types[name].canonical(self._staged_key(name)) for name in self.key]
        parts += more
        return self.key_text.sql(f"jsonb_build_array({', '.join(parts)})")

    def _newer(self, new: Mapping[str, str]) -> str:
        """SQL: is the staged row, whose columns are `new`, at least as new as the target's?"""
        later = "true"
        if self.positioned:
            later = f"NOT {STAGED.precedes(TARGET)}"
        version = self.conflict.version
        if version is None:
            return later
        old = f"t.{quoted(version)}"
        return (
            f"CASE WHEN {new[version]} IS NOT DISTINCT FROM {old} THEN {later} "
            f"ELSE {old} IS NULL OR {new[version]} > {old} END"
        )

    def staged(self, name: str) -> str:
        """SQL of a staged column as a value of the target's type."""
        return self._cast(next(column for column in self.columns if column.name == name))

    @staticmethod
    def _cast(column: TargetColumn) -> str:
        value = f"s.{quoted(column.name)}"
        if column.stage_type == column.pg.name:
            return value
        return column.pg.read(value)


def _unnest(names: Sequence[str], types: Sequence[str]) -> str:
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
    return f"unnest({arrays}) WITH ORDINALITY AS s({', '.join([*names, '_number'])})"


def _list(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
