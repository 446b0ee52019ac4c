"""The SQL that writes a batch: built once for a mapping, run for every batch.

A batch is staged by COPY in a temporary table and goes on from there as sets, in key order,
so that two runners can't lock each other out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from ..model.changes import KEEP_BITS
from ..plugin import Column, Conflict, Strategy
from ..postgres.catalog import quoted
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from .key_hashing import KeyText

# An explicit cast to these cuts off in silence what is too long; an assignment complains.
_CUT_OFF = ("varchar", "bpchar", "bit", "varbit")

POSITION = "_position"
ORDINAL = "_ordinal"
NOW = "(clock_timestamp() AT TIME ZONE 'UTC')"

Place: TypeAlias = tuple[str, str]
"""The SQL of a position and of its ordinal.

Where the last change of a row had no position (a read of an incremental snapshot), the position of
the change before is kept, with the complement of its ordinal, which is negative.  Events that
follow such a read in their partition are later than it, even if a batch run had brought a later
position before; but the rows of an older batch run are still older.

A batch run's own rows and removals come with `BATCH_ORDINAL`, whose complement is stored.
"""
STAGED: Place = (f"s.{POSITION}", f"s.{ORDINAL}")
REMEMBERED: Place = ("v.position", "v.ordinal")
EXCLUDED: Place = ("excluded.position", "excluded.ordinal")
TARGET: Place = (f"t.{POSITION}", f"t.{ORDINAL}")
KEEP_POSITION = (
    "position = coalesce(excluded.position, v.position), "
    "ordinal = CASE WHEN excluded.position IS NULL THEN v.ordinal ELSE excluded.ordinal END"
)
"""Set the position of a deletion, unless it has none."""


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
    marked: Mapping[str, PgType] = field(default_factory=dict)
    """The types of the target's columns, any of which a mark may set."""
    positioned: bool = False
    """The table keeps the log position in a column of its own, which decides between rows of
    the same version."""

    @property
    def stage(self) -> str:
        return quoted(f"stage_{self.mapping}")

    @cached_property
    def keeps(self) -> tuple[str, ...]:
        """The staged columns whose bits say which columns of an existing row to leave alone."""
        more = range(1, -(-len(self.columns) // KEEP_BITS))
        return ("_keep", *(f"_keep_{at}" for at in more))

    @cached_property
    def _marks(self) -> tuple[str, ...]:
        """What a row may be staged with besides its columns; each is a bigint."""
        return (*self.keeps, POSITION, ORDINAL)

    @cached_property
    def create_stage(self) -> str:
        columns = [f"{quoted(c.name)} {c.stage_type}" for c in self.columns]
        columns += [f"{name} int8" for name in self._marks]
        return f"CREATE TEMP TABLE {self.stage} ({', '.join(columns)}) ON COMMIT DELETE ROWS"

    def copy(self, *, marked: bool) -> str:
        """`marked` rows end with what to keep and the position, which most writes don't need."""
        names = [quoted(c.name) for c in self.columns]
        names += list(self._marks) if marked else []
        return f"COPY {self.stage} ({', '.join(names)}) FROM STDIN (FORMAT binary)"

    def stage_types(self, *, marked: bool) -> list[str]:
        return [c.stage_type for c in self.columns] + (
            ["int8"] * len(self._marks) if marked else []
        )

    @property
    def clear_stage(self) -> str:
        return f"DELETE FROM {self.stage}"

    @cached_property
    def pairs(self) -> str:
        """Each staged row beside the target's row of its key, which is locked, numbered from 0.

        After the number: whether the two differ, the new values, the old ones, and the text of
        the old ones as an array.
        """
        new = [self._cast(c) for c in self.columns]
        old = [f"t.{quoted(c.name)}" for c in self.columns]
        texts = ", ".join(f"{value}::text" for value in old)
        return self._beside([differ(*self._images), *new, *old, f"ARRAY[{texts}]"])

    def comparison(self, *, version: str, owner_time: str | None) -> str:
        """As `pairs`, but compared by the database: nothing is read that Python may not hold.

        After the number, arrays with an item for each column: whether it differs, whether the
        new value is NULL, the texts of the new values and of the old ones.  Then of the
        version: whether both are equal, whether the old one is NULL, whether the new one is
        later, whether it is earlier; and whether the owner wrote in its second or after it.
        """
        pairs = list(zip(*self._images, strict=True))
        old, new = next(p for c, p in zip(self.columns, pairs, strict=True) if c.name == version)
        since = f"t.{quoted(owner_time)} >= date_trunc('second', {new})" if owner_time else "false"
        return self._beside(
            [
                _array(differ([one], [other]) for one, other in pairs),
                _array(f"{other} IS NULL" for _, other in pairs),
                _array(f"({other})::text" for _, other in pairs),
                _array(f"({one})::text" for one, _ in pairs),
                f"{new} IS NOT DISTINCT FROM {old}",
                f"{old} IS NULL",
                f"coalesce({new} > {old}, {old} IS NULL AND {new} IS NOT NULL)",
                f"coalesce({new} < {old}, {new} IS NULL AND {old} IS NOT NULL)",
                f"coalesce({since}, false)",
            ]
        )

    @cached_property
    def _images(self) -> tuple[list[str], list[str]]:
        """The old values and the new ones as the target stores them, of their base types."""
        old = [as_base(f"t.{quoted(c.name)}", c.pg) for c in self.columns]
        return old, [stored(self._cast(c), c.pg) for c in self.columns]

    def _beside(self, expressions: Sequence[str]) -> str:
        numbered = f"SELECT *, row_number() OVER (ORDER BY ctid) - 1 AS _number FROM {self.stage}"
        return (
            f"SELECT s._number, {', '.join(expressions)} FROM {self.target} t "
            f"JOIN ({numbered}) s ON {self.same_key} "
            f"ORDER BY {', '.join(f't.{quoted(n)}' for n in self.key)} FOR UPDATE OF t"
        )

    # -- rows that are whole ---------------------------------------------------------------

    @property
    def updates(self) -> bool:
        """Whether a row that is there may be updated."""
        return self.conflict.strategy is not Strategy.INSERT_ONCE and bool(self._updated)

    @cached_property
    def upsert(self) -> str:
        """Insert the staged rows, or let the newer of two win; not where it is `positioned`."""
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
            names += [POSITION, ORDINAL]
            values += [f"s.{POSITION}", ordinal_of(STAGED)]
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

        `merge` also leaves a column alone where the new value is NULL; not so the version, or
        a row without a time would pass for one as new as the target's.  What brings no value at
        all then leaves the row as it is, its version too, and so does a read of the version that
        the row has already: what differs since is the target's own doing.
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
        """The value that an existing row is given, as the column stores it or as it comes."""
        old, new = f"t.{quoted(column.name)}", self._cast(column)
        if as_stored:
            old, new = as_base(old, column.pg), stored(new, column.pg)
        if merge and column.name != self.conflict.version:
            new = f"coalesce({new}, {old})"
        return f"CASE WHEN {self._keeps(column.name)} <> 0 THEN {old} ELSE {new} END"

    @property
    def _brings(self) -> str:
        """Is there a value, not NULL and not to be left alone, in a column of the source's?"""
        bringing = [
            f"({self._keeps(c.name)} = 0 AND s.{quoted(c.name)} IS NOT NULL)"
            for c in self._updated
            if c.column.sources and c.name not in {*self.key, self.conflict.version}
        ]
        return f"({' OR '.join(bringing) or 'true'})"

    def _keeps(self, name: str) -> str:
        """Not zero where a staged row leaves the column alone."""
        at = next(i for i, column in enumerate(self.columns) if column.name == name)
        word, bit = divmod(at, KEEP_BITS)
        return f"s.{self.keeps[word]} & {1 << bit}"

    @cached_property
    def outdated(self) -> str:
        """Count the staged rows that are older than the target's row; asked after the write."""
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
        """Is there a staged row that the target lacks?"""
        return (
            f"SELECT EXISTS (SELECT FROM {self.stage} s WHERE NOT EXISTS "
            f"(SELECT FROM {self.target} t WHERE {self.same_key}))"
        )

    @cached_property
    def discard_deleted(self) -> str:
        """Remove the staged rows that are no newer than the tombstone of their key.

        Takes the mapping's name.  A row without a position is compared by its version; where
        either has none, it came after the deletion.
        """
        version = self.conflict.version
        older = "false"
        if version is not None:
            column = next(c for c in self.columns if c.name == version)
            new = stored(self._cast(column), column.pg)
            older = f"{new} <= v.version::{column.pg.unbound_cast}"
        return (
            f"DELETE FROM {self.stage} s USING sink.row_version v "
            f"WHERE v.mapping = %s AND v.key = {self.key_hash} AND v.deleted_at IS NOT NULL AND "
            f"CASE WHEN s.{POSITION} IS NULL THEN {older} "
            f"ELSE {precedes(STAGED, REMEMBERED, or_equals=True)} END"
        )

    # -- keys that leave; each key column is an array of text ---------------------------------

    @cached_property
    def delete(self) -> str:
        """Delete; returns the number, from 0, of each key that had a row, and the row's version."""
        arrays = ", ".join("%s::text[]" for _ in self.key)
        keys = f"unnest({arrays}) WITH ORDINALITY AS s({_list(self.key)}, _number)"
        version = self.conflict.version
        told = "NULL" if version is None else f"t.{quoted(version)}::text"
        return (
            f"DELETE FROM {self.target} t USING {keys} WHERE {self.same_key} "
            f"RETURNING s._number - 1, {told}"
        )

    def mark(self, values: Mapping[str, Any]) -> str:
        """Set columns; takes the values and then the keys."""
        types = [self._all_types[name] for name in values]
        given = [f"%s::{pg.unbound_cast} AS m{at}" for at, pg in enumerate(types)]
        sets = [f"{quoted(name)} = m.m{at}" for at, name in enumerate(values)]
        new = [stored(f"m.m{at}", pg) for at, pg in enumerate(types)]
        old = [as_base(f"t.{quoted(n)}", pg) for n, pg in zip(values, types, strict=True)]
        return (
            f"UPDATE {self.target} t SET {', '.join(sets)} "
            f"FROM (SELECT {', '.join(given)}) m, {self._keys} "
            f"WHERE {self.same_key} AND {differ(old, new)}"
        )

    @cached_property
    def remember_deleted(self) -> str:
        """Takes the mapping's name, the keys, the positions (two arrays) and the versions."""
        return (
            "INSERT INTO sink.row_version AS v "
            "(mapping, key, position, ordinal, version, deleted_at) "
            f"SELECT %s, {self.key_hash}, s.{POSITION}, {ordinal_of(STAGED)}, s._version, now() "
            f"FROM {self._keys_and('_version text')} "
            "ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{KEEP_POSITION}, "
            "version = coalesce(excluded.version, v.version), deleted_at = excluded.deleted_at "
            f"WHERE coalesce({place_of(REMEMBERED)} < {place_of(EXCLUDED)}, true) "
            "OR v.ordinal < 0"
        )

    @cached_property
    def empty(self) -> str:
        """Delete what is no newer than a position, but for the rows of callbacks; takes the
        mapping's name, the position and the ordinal by name."""
        types = [(f"t.{quoted(name)}", self._all_types[name]) for name in self.key]
        parts = ", ".join(pg.canonical(as_base(value, pg)) for value, pg in types)
        key = self.key_text.sql(f"jsonb_build_array({parts})")
        place = "(%(position)s::int8, %(ordinal)s::int8)"
        newer = (
            f"coalesce({place_of(TARGET)} > {place}, false)"
            if self.positioned
            else "EXISTS (SELECT FROM sink.row_version v WHERE v.mapping = %(mapping)s "
            f"AND v.key = {key} AND v.deleted_at IS NULL AND {place_of(REMEMBERED)} > {place})"
        )
        return (
            f"DELETE FROM {self.target} t WHERE NOT {newer} AND NOT EXISTS (SELECT "
            f"FROM sink.callback_row c WHERE c.mapping = %(mapping)s AND c.key = {key})"
        )

    # -- places in the log of rows that are there ---------------------------------------------

    @cached_property
    def stale(self) -> str:
        """Takes the keys, the positions (two arrays) and the mapping's name; numbers, from 0, those
        for which something later is remembered.  A change without a position is never one."""
        return (
            f"{self._remembered} WHERE {precedes(STAGED, REMEMBERED)} OR (v.deleted_at IS NOT NULL "
            f"AND {precedes(STAGED, REMEMBERED, or_equals=True)})"
        )

    @property
    def _remembered(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return (
            f"SELECT s._number - 1 FROM unnest({arrays}, %s::int8[], %s::int8[]) "
            f"WITH ORDINALITY AS s({_list(self.key)}, {POSITION}, {ORDINAL}, _number) "
            f"JOIN sink.row_version v ON v.mapping = %s AND v.key = {self.key_hash}"
        )

    @cached_property
    def seen(self) -> str:
        """As `stale`, but for those too that are themselves what is remembered."""
        return f"{self._remembered} WHERE {precedes(STAGED, REMEMBERED, or_equals=True)}"

    @cached_property
    def remember(self) -> str:
        """Takes the mapping's name, the keys and the positions (two arrays); for changes that are
        not stale."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal) "
            f"SELECT %s, {self.key_hash}, s.{POSITION}, {ordinal_of(STAGED)} "
            f"FROM {self._keys_and()} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{replace_position(EXCLUDED, REMEMBERED)}, "
            "version = NULL, deleted_at = NULL"
        )

    @cached_property
    def _keys(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return f"unnest({arrays}) AS s({_list(self.key)})"

    def _keys_and(self, *more: str) -> str:
        """Keys and positions, and then more arrays, each declared as a name and a type."""
        names = [*map(quoted, self.key), POSITION, ORDINAL]
        arrays = [*("%s::text[]" for _ in self.key), "%s::int8[]", "%s::int8[]"]
        for name, _, type_ in (one.partition(" ") for one in more):
            names.append(name)
            arrays.append(f"%s::{type_}[]")
        return f"unnest({', '.join(arrays)}) AS s({', '.join(names)})"

    @cached_property
    def existing(self) -> str:
        """The rows of some keys."""
        return f"{self.target} t JOIN {self._keys} ON {self.same_key}"

    # -- parts -----------------------------------------------------------------------------------

    @cached_property
    def _updated(self) -> list[TargetColumn]:
        """A key is written, too, where an equal one may be spelled otherwise."""
        own = {name for name in self.key if self.types[name].is_exact}
        return [c for c in self.columns if c.name not in own and not c.column.insert_only]

    def _also_set(self) -> list[str]:
        sets = [f"{quoted(c.name)} = {NOW}" for c in self.unstaged]
        if self.positioned:
            sets.append(replace_position(STAGED, TARGET))
        return sets

    @property
    def _key(self) -> str:
        return _list(self.key)

    @cached_property
    def _all_types(self) -> dict[str, PgType]:
        return {**self.marked, **self.types}

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
        """Takes the keys; gives for each its number, from 0, and one that equal keys share."""
        arrays = ", ".join("%s::text[]" for _ in self.key)
        return (
            f"SELECT s._number - 1, dense_rank() OVER (ORDER BY "
            f"{', '.join(map(self._staged_key, self.key))}) "
            f"FROM unnest({arrays}) WITH ORDINALITY AS s({_list(self.key)}, _number)"
        )

    @cached_property
    def key_hash(self) -> str:
        """As which the key of `s` is kept in the runner's own tables."""
        return self.hash_of()

    def hash_of(self, *more: str) -> str:
        """A hash of the key of `s` and of more expressions."""
        parts = [self.types[name].canonical(self._staged_key(name)) for name in self.key]
        parts += more
        return self.key_text.sql(f"jsonb_build_array({', '.join(parts)})")

    def _newer(self, new: Mapping[str, str]) -> str:
        """Is the staged row, whose columns are `new`, as late as the target's, or later?"""
        later = "true"
        if self.positioned:
            later = f"NOT {precedes(STAGED, TARGET)}"
        version = self.conflict.version
        if version is None:
            return later
        old = f"t.{quoted(version)}"
        return (
            f"CASE WHEN {new[version]} IS NOT DISTINCT FROM {old} THEN {later} "
            f"ELSE {old} IS NULL OR {new[version]} > {old} END"
        )

    @staticmethod
    def _cast(column: TargetColumn) -> str:
        value = f"s.{quoted(column.name)}"
        if column.stage_type == column.pg.name:
            return value
        return column.pg.read(value)


def ordinal_of(place: Place) -> str:
    """SQL of the ordinal, whether its complement is there or itself."""
    return f"greatest({place[1]}, ~{place[1]})"


def place_of(place: Place) -> str:
    """SQL of a position that can be compared with others."""
    return f"({place[0]}, {ordinal_of(place)})"


def precedes(change: Place, last: Place, *, or_equals: bool = False) -> str:
    """SQL: is a change older than the last one of its row?  Never NULL."""
    compared = f"{place_of(change)} {'<=' if or_equals else '<'} {place_of(last)}"
    return f"coalesce({compared} AND ({last[1]} >= 0 OR {change[1]} < 0), false)"


def replace_position(change: Place, last: Place) -> str:
    """SQL that sets the position of a row's last change to that of a change."""
    names = [name.partition(".")[2] for name in last]
    return (
        f"{names[0]} = coalesce({change[0]}, {last[0]}), {names[1]} = CASE "
        f"WHEN {change[0]} IS NULL THEN least({last[1]}, ~{last[1]}) ELSE {ordinal_of(change)} END"
    )


def differ(old: Sequence[str], new: Sequence[str]) -> str:
    """SQL: whether two rows of the same types are not identical, byte for byte.

    PostgreSQL's record image operators need no equality operator of the types, cannot raise on
    a value, and tell apart what `=` calls equal: 1.5 and 1.50, 0 and -0, `alice` and `Alice` of
    citext, `1 mon` and `30 days`.
    """
    return f"ROW({', '.join(old)})::record *<> ROW({', '.join(new)})::record"


def as_base(value: str, pg: PgType) -> str:
    """SQL of a column's value as a value of its base type: image operators compare no domains."""
    return f"({value})::{pg.unbound_cast}"


def stored(value: str, pg: PgType) -> str:
    """SQL of what a value of the base type becomes when a column of the type stores it.

    What is too long stays as it is, since the assignment is going to refuse it.
    """
    if pg.modifier is None:
        return value
    bound = f"({value})::{pg.base_cast}"
    if not pg.scalar.is_builtin(*_CUT_OFF):
        return bound
    return f"CASE WHEN {bound} = {value} THEN {bound} ELSE {value} END"


def _array(expressions: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(expressions)}]"


def _list(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
