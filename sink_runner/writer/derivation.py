"""Build the SQL that derives a mapping's rows from their candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from ..errors import ConfigError
from ..loading.mapping_checks import shortened
from ..plugin import Derived, SyncTime, TableMapping
from ..postgres.catalog import TableCatalog, quoted
from ..postgres.comparison import as_base, differ, stored
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from .log_position import LSN_COLUMN, ORDINAL_COLUMN
from .statements import NOW

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Derivation:
    """SQL for the groups of candidates that a batch touches; `table` has the candidates."""

    mapping: str
    declared: TableMapping
    candidates: Derived
    table: str
    columns: Sequence[TargetColumn]
    target: TableCatalog

    @property
    def touched(self) -> str:
        return quoted(f"touched_{self.mapping}")

    @property
    def group(self) -> str:
        return names_of(self.candidates.group)

    @cached_property
    def create(self) -> list[str]:
        """The statements that create the candidate table and its indexes."""
        defined = ", ".join(f"{quoted(column.name)} {column.type}" for column in self.columns)
        key = names_of(self.candidates.key)
        position = f"{LSN_COLUMN} bigint, {ORDINAL_COLUMN} bigint NOT NULL DEFAULT 0"
        body = f"{defined}, {position}, PRIMARY KEY ({key})"
        statements = [f"CREATE TABLE IF NOT EXISTS {self.table} ({body})"]
        indexed = [self.candidates.group]
        if self.candidates.expire_column is not None:
            indexed.append((self.candidates.expire_column,))
        bare = self.table.rsplit(".", 1)[1].strip('"')
        for names in indexed:
            index = quoted(shortened(f"{bare}_{'_'.join(names)}"))
            statements.append(
                f"CREATE INDEX IF NOT EXISTS {index} ON {self.table} ({names_of(names)})"
            )
        return statements

    @cached_property
    def create_touched(self) -> str:
        types = {column.name: column.type for column in self.columns}
        group = ", ".join(f"{quoted(name)} {types[name]}" for name in self.candidates.group)
        return f"CREATE TEMP TABLE {self.touched} ({group}) ON COMMIT DELETE ROWS"

    def touch(self, existing: str) -> str:
        """Note the groups of the candidates that `existing` selects."""
        group = ", ".join(f"t.{quoted(name)}" for name in self.candidates.group)
        return f"INSERT INTO {self.touched} SELECT DISTINCT {group} FROM {existing}"

    @cached_property
    def touch_orphans(self) -> str:
        """Note the groups of the target that have no candidates."""
        table = self.target.sql_name
        same = " AND ".join(f"c.{quoted(n)} = t.{quoted(n)}" for n in self.candidates.group)
        return (
            f"INSERT INTO {self.touched} SELECT DISTINCT {self.group} FROM {table} t "
            f"WHERE NOT EXISTS (SELECT FROM {self.table} c WHERE {same})"
        )

    @cached_property
    def expire(self) -> str:
        """Takes the time before which candidates expire, and the most to delete."""
        assert self.candidates.expire_column is not None
        return (
            f"WITH gone AS (DELETE FROM {self.table} WHERE ctid IN (SELECT ctid FROM {self.table} "
            f"WHERE {quoted(self.candidates.expire_column)} < %s LIMIT %s) "
            f"RETURNING {self.group}) "
            f"INSERT INTO {self.touched} SELECT DISTINCT {self.group} FROM gone"
        )

    @cached_property
    def lock(self) -> str:
        """Takes the mapping's name; locks each touched group, in sorted order."""
        parts = " || '/' || ".join(f"{quoted(name)}::text" for name in self.candidates.group)
        return (
            f"SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT "
            f"hashtextextended(%s || {parts}, 0) AS h FROM {self.touched} ORDER BY h) x"
        )

    @cached_property
    def touch_groups(self) -> str:
        """Note groups, each of whose columns is an array of text."""
        arrays = ", ".join("%s::text[]" for _ in self.candidates.group)
        names = names_of(self.candidates.group)
        read = ", ".join(pg.read(f"g.{quoted(name)}") for name, pg in self._group_types)
        return f"INSERT INTO {self.touched} SELECT {read} FROM unnest({arrays}) g({names})"

    def some_groups(self, *, after: bool, most: int) -> str:
        """The first groups of candidates and target, as text; `after` takes a group, twice."""
        types = ", ".join(f"%s::{pg.unbound_cast}" for _, pg in self._group_types)
        where = f" WHERE ({self.group}) > ({types})" if after else ""
        part = "(SELECT DISTINCT {group} FROM {table}{where} ORDER BY {group} LIMIT {most})"
        parts = [
            part.format(group=self.group, table=table, where=where, most=most)
            for table in (self.table, self.target.sql_name)
        ]
        texts = ", ".join(f"g.{quoted(name)}::text" for name in self.candidates.group)
        ordered = ", ".join(f"g.{quoted(name)}" for name in self.candidates.group)
        known = " AND ".join(f"g.{quoted(name)} IS NOT NULL" for name in self.candidates.group)
        return (
            f"SELECT {texts} FROM ({' UNION '.join(parts)}) g WHERE {known} "
            f"ORDER BY {ordered} LIMIT {most}"
        )

    @property
    def _group_types(self) -> list[tuple[str, PgType]]:
        types = {column.name: column.pg for column in self.columns}
        return [(name, types[name]) for name in self.candidates.group]

    def differences(self, connection: Connection) -> tuple[str, list[str]]:
        """Return SQL for the target's rows of the touched groups that are not as derived.

        It takes `now`, and gives whether the row is wanted and exists, its key as an array of text,
        and which of the columns differ, whose names are returned, too.
        """
        key, table = self.declared.key, self.target.sql_name
        own = {name for name in key if self.target.columns[name].pg.is_exact}
        names = [name for name in self._derived_columns(connection) if name not in own]
        differs = []
        for name in names:
            pg = self.target.columns[name].pg
            new = stored(f"w.{quoted(name)}::{pg.unbound_cast}", pg)
            differs.append(differ([as_base(f"t.{quoted(name)}", pg)], [new]))
        texts = [f"coalesce(w.{quoted(n)}::text, t.{quoted(n)}::text)" for n in key]
        same = " AND ".join(f"t.{quoted(n)} = w.{quoted(n)}" for n in key)
        wanted, exists = (f"{side}.{quoted(key[0])} IS NOT NULL" for side in "wt")
        query = (
            f"WITH wanted AS MATERIALIZED ({self._select}), there AS MATERIALIZED (SELECT * "
            f"FROM {table} WHERE ({self.group}) IN (SELECT {self.group} FROM {self.touched})) "
            f"SELECT * FROM (SELECT {wanted} AS is_wanted, {exists} AS is_there, "
            f"ARRAY[{', '.join(texts)}] AS key, ARRAY[{', '.join(differs)}]::boolean[] AS differs "
            f"FROM wanted w FULL JOIN there t ON {same}) d "
            "WHERE NOT is_wanted OR NOT is_there OR true = ANY (differs)"
        )
        return query, names

    def derive(self, connection: Connection) -> str:
        """Make the touched groups of the target equal to the result of `Derived.select`."""
        names = self._derived_columns(connection)
        table, key, group = self.target.sql_name, self.declared.key, self.group
        own = {name for name in key if self.target.columns[name].pg.is_exact}
        others = [name for name in names if name not in own]
        set_ = [*others, *self._timed]
        values = ", ".join([names_of(names), *(NOW for _ in self._timed)])
        sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in set_)
        old = [f"t.{quoted(name)}" for name in others]
        new = [f"excluded.{quoted(name)}" for name in others]
        same = " AND ".join(f"t.{quoted(name)} = w.{quoted(name)}" for name in key)
        return (
            f"WITH wanted AS MATERIALIZED ({self._select}), "
            f"gone AS (DELETE FROM {table} t WHERE ({group}) IN "
            f"(SELECT {group} FROM {self.touched}) AND NOT EXISTS (SELECT FROM wanted w "
            f"WHERE {same}) RETURNING 1), "
            f"put AS (INSERT INTO {table} AS t ({names_of([*names, *self._timed])}) "
            f"OVERRIDING SYSTEM VALUE SELECT {values} FROM wanted ORDER BY {names_of(key)} "
            f"ON CONFLICT ({names_of(key)}) DO UPDATE SET {sets} "
            f"WHERE {differ(old, new)} RETURNING 1) "
            "SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM put)"
        )

    @cached_property
    def _select(self) -> str:
        mine = (
            f"(SELECT c.* FROM {self.table} c "
            f"WHERE ({self.group}) IN (SELECT {self.group} FROM {self.touched}))"
        )
        return self.candidates.select.replace("{candidates}", mine).replace(
            "{now}", "%(now)s::timestamp"
        )

    @cached_property
    def _timed(self) -> list[str]:
        """The columns with the time of the write, which only the target has."""
        return [c.name for c in self.declared.columns if isinstance(c.source, SyncTime)]

    def _derived_columns(self, connection: Connection) -> list[str]:
        query = f"SELECT * FROM ({self._select}) d LIMIT 0"
        described = connection.execute(query.encode(), {"now": None}).description
        names = [column.name for column in described or ()]
        needed = {*self.declared.key, *self.candidates.group}
        unknown = sorted({*names, *self._timed} - self.target.columns.keys())
        if unknown or not needed <= set(names):
            raise ConfigError(
                f"the derivation for {self.declared.target} must return the target's columns, "
                f"{sorted(needed)} among them; unknown: {unknown}"
            )
        return names


def names_of(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
