"""Reads the types of a table's columns from pg_catalog, all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg

from .types import ColumnType, PgType

_COLUMNS = """
SELECT a.attname, a.atttypid, a.atttypmod,
    (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
        WHERE c.oid = a.attcollation AND NOT c.collisdeterministic),
    NOT a.attnotnull, a.attstorage::text <> 'p', format_type(a.atttypid, NULL)
FROM pg_attribute a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# An array is what its element names as its array; int2vector and the like have elements, too.
_TYPES = """
WITH RECURSIVE wanted(oid, modifier) AS (
    SELECT * FROM unnest(%s::oid[], %s::int4[])
    UNION
    SELECT part.oid, part.modifier
    FROM wanted w JOIN pg_type t ON t.oid = w.oid CROSS JOIN LATERAL (
        SELECT t.typbasetype, CASE WHEN w.modifier >= 0 THEN w.modifier ELSE t.typtypmod END
        WHERE t.typtype = 'd'
        UNION ALL
        SELECT e.oid, w.modifier FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid
        UNION ALL
        SELECT r.rngsubtype, -1 FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL
        SELECT f.atttypid, f.atttypmod FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid
            AND f.attnum > 0 AND NOT f.attisdropped
    ) part(oid, modifier)
)
SELECT t.oid, w.modifier, n.nspname, t.typname, t.typtype::text, t.typcategory::text,
    CASE WHEN t.typtype = 'd' THEN t.typbasetype END,
    CASE WHEN t.typtype = 'd' AND w.modifier < 0 THEN t.typtypmod ELSE w.modifier END,
    (SELECT e.oid FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid),
    (SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid) LIMIT 1),
    ARRAY(SELECT l.enumlabel::text FROM pg_enum l
        WHERE l.enumtypid = t.oid ORDER BY l.enumsortorder),
    ARRAY(SELECT f.attname::text FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid
            AND f.attnum > 0 AND NOT f.attisdropped ORDER BY f.attnum),
    ARRAY(SELECT f.atttypid::int8 FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid
            AND f.attnum > 0 AND NOT f.attisdropped ORDER BY f.attnum),
    ARRAY(SELECT f.atttypmod FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid
            AND f.attnum > 0 AND NOT f.attisdropped ORDER BY f.attnum),
    (SELECT c.collname FROM pg_collation c WHERE c.oid = t.typcollation),
    (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
            AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
    format_type(t.oid, w.modifier), format_type(t.oid, -1),
    quote_ident(n.nspname) || '.' || quote_ident(t.typname)
FROM wanted w JOIN pg_type t ON t.oid = w.oid JOIN pg_namespace n ON n.oid = t.typnamespace
"""


class _Row(NamedTuple):
    """One type with one modifier, as `_TYPES` selects it."""

    oid: int
    modifier: int
    schema: str
    name: str
    kind: str
    category: str
    base: int | None
    base_modifier: int
    element: int | None
    subtype: int | None
    labels: list[str]
    field_names: list[str]
    field_types: list[int]
    field_modifiers: list[int]
    collation: str | None
    extension: str | None
    formatted: str
    unbound: str
    qualified: str


def read_types(connection: psycopg.Connection[Any], table: str) -> dict[str, ColumnType]:
    """Return the columns of `table`, a quoted and qualified name; none where it does not exist."""
    columns = connection.execute(_COLUMNS, (table,)).fetchall()
    resolved = resolve_types(connection, [(row[1], row[2]) for row in columns])
    return {
        name: ColumnType(replace(resolved[oid, modifier], folding=folding), *facts)
        for name, oid, modifier, folding, *facts in columns
    }


def resolve_types(
    connection: psycopg.Connection[Any], wanted: list[tuple[int, int]]
) -> dict[tuple[int, int], PgType]:
    """Resolve pairs of a type's oid and a modifier, -1 where there is none."""
    oids, modifiers = [oid for oid, _ in wanted], [modifier for _, modifier in wanted]
    found = [_Row(*row) for row in connection.execute(_TYPES, (oids, modifiers)).fetchall()]
    rows = {(row.oid, row.modifier): row for row in found}
    return {pair: _resolved(rows, *pair) for pair in wanted}


def _resolved(rows: Mapping[tuple[int, int], _Row], oid: int, modifier: int) -> PgType:
    row = rows[oid, modifier]
    if row.base is not None:
        base = _resolved(rows, row.base, row.base_modifier)
        return replace(
            base,
            declared=row.formatted,
            cast=row.qualified,
            domains=(row.qualified, *base.domains),
            collation=row.collation or base.collation,
        )
    made = PgType(
        schema=row.schema,
        name=row.name,
        category=row.category,
        kind=row.kind,
        modifier=modifier if modifier >= 0 else None,
        declared=row.formatted,
        cast=_cast(row, row.formatted),
        unbound_cast=_cast(row, row.unbound),
        base_cast=_cast(row, row.formatted),
        labels=tuple(row.labels),
        collation=row.collation,
        extension=row.extension,
    )
    if row.element is not None:
        element = _resolved(rows, row.element, modifier)
        return replace(
            made,
            element=element,
            cast=f"{element.cast}[]",
            unbound_cast=f"{element.unbound_cast}[]",
            base_cast=f"{element.base_cast}[]",
            extension=element.extension,
        )
    if row.subtype is not None:
        return replace(made, subtype=_resolved(rows, row.subtype, -1))
    parts = zip(row.field_names, row.field_types, row.field_modifiers, strict=True)
    return replace(made, fields=tuple((name, _resolved(rows, t, m)) for name, t, m in parts))


def _cast(row: _Row, formatted: str) -> str:
    """The type's SQL with its schema, unless PostgreSQL's grammar has a word for it."""
    if row.schema == "pg_catalog":
        return formatted
    bound = formatted[len(row.unbound) :] if formatted.startswith(row.unbound) else ""
    return row.qualified + bound
