"""Reads a table's columns and keys from pg_catalog, once at start, before any row is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ..errors import ConfigError
from ..plugin import Table
from .declared_types import declared_type
from .type_catalog import read_types
from .types import UNRESOLVED, PgType

_UNIQUE = """
SELECT array_agg(a.attname::text ORDER BY k.place), i.indisprimary
FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE k.place <= i.indnkeyatts AND i.indrelid = to_regclass(%s) AND i.indisunique
  AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid, i.indisprimary
"""
_IDENTITY = "SELECT relreplident FROM pg_class WHERE oid = to_regclass(%s)"

# What a value may be sent as in binary COPY; every other type travels as text and is cast
# by the database, whose parser is faster than ours and always right.
_BINARY = frozenset(("int2", "int4", "int8", "bool", "float8"))


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column of a table.

    `type` is the declared type without length, precision and scale, for messages; every decision
    is made by `pg`, the resolved type, which is read from `type` where it is not given.
    """

    name: str
    type: str
    nullable: bool
    pg: PgType = UNRESOLVED
    toastable: bool = True
    """Whether its values can be stored out of line, so that an update may leave them out."""

    def __post_init__(self) -> None:
        """Resolve the type of a column that comes from no database."""
        if self.pg is UNRESOLVED:
            object.__setattr__(self, "pg", declared_type(self.type))

    @property
    def stage_type(self) -> str:
        """The type that the column's values have on their way to the table."""
        return stage_type(self.pg)


def stage_type(pg: PgType) -> str:
    """The type that values of a type have on their way to the table."""
    return pg.name if pg.is_builtin(*_BINARY) else "text"


@dataclass(frozen=True, slots=True)
class TableCatalog:
    """A table's columns by name, its unique keys and its replica identity."""

    table: Table
    columns: dict[str, CatalogColumn]
    unique: frozenset[frozenset[str]]
    primary_key: frozenset[str]
    full_identity: bool
    index_order: Mapping[frozenset[str], tuple[str, ...]] = field(default_factory=dict)
    """Of each unique key, its columns in the order in which the index has the rows."""

    @property
    def toastable(self) -> frozenset[str]:
        """The columns that an update may leave out where they are unchanged."""
        return frozenset(name for name, column in self.columns.items() if column.toastable)

    @property
    def sql_name(self) -> str:
        return qualified(self.table.schema, self.table.name)


def quoted(name: str) -> str:
    """`name` as an SQL identifier.

    One with a percent sign is refused: where a statement has parameters, it would be one.
    """
    if "%" in name:
        raise ConfigError(f"the name {name!r} has a %, which the runner can't write")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def read_table(connection: psycopg.Connection[Any], table: Table) -> TableCatalog:
    """Ask the database that `connection` is open to about `table`."""
    name = qualified(table.schema, table.name)
    columns = {
        name: CatalogColumn(name, found.bare, found.nullable, found.type, found.toastable)
        for name, found in read_types(connection, name).items()
    }
    if not columns:
        raise ConfigError(f"table {table} does not exist, or its schema may not be used")
    keys = connection.execute(_UNIQUE, (name,)).fetchall()
    identity = connection.execute(_IDENTITY, (name,)).fetchone()
    return TableCatalog(
        table=table,
        columns=columns,
        unique=frozenset(frozenset(key) for key, _ in keys),
        primary_key=frozenset(name for key, primary in keys if primary for name in key),
        full_identity=identity is not None and identity[0] in {"f", b"f"},
        index_order={frozenset(key): tuple(key) for key, _ in keys},
    )
