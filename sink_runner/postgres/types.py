"""The resolved type of a column: its base type through any depth of domains, and its parts.

`read_types` asks pg_catalog once for each table.  `declared_type` gives the same for a type that
is only known by its declaration, where no database can be asked (the test harness, the columns
of candidates).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import psycopg

HEADER = 4
"""What the modifier of a variable-length type has on top of its length (VARHDRSZ)."""
_ANY_FIELDS = 0x7FFF
_ANY_PRECISION = 0xFFFF
"""The precision of an interval that declares fields only."""


@dataclass(frozen=True, slots=True)
class PgType:
    """A type with its domains resolved.

    `schema` and `name` are those of the base type in pg_type: `int4`, never `integer`.  For an
    array `element` is the resolved element type, which carries the modifier as well; for a range
    or a multirange `subtype` is the type of its bounds.
    """

    schema: str
    name: str
    category: str
    """pg_type.typcategory of the base type."""
    kind: str
    """pg_type.typtype of the base type: b(ase), c(omposite), e(num), r(ange), m(ultirange)."""
    modifier: int | None
    """The type modifier that applies; None where there is none."""
    declared: str
    """The column's type as PostgreSQL shows it, for messages."""
    cast: str
    """SQL of the full type with its modifier, to be put after `::`."""
    unbound_cast: str
    """SQL of the base type without its modifier.

    An explicit cast to the full type shortens silently; an assignment from this one complains.
    """
    base_cast: str
    """SQL of the base type with its modifier: as `cast`, but without the domains' constraints."""
    element: PgType | None = None
    subtype: PgType | None = None
    labels: tuple[str, ...] = ()
    fields: tuple[tuple[str, PgType], ...] = ()
    collation: str | None = None
    extension: str | None = None
    """The extension that owns the base type, whatever its schema is."""
    domains: tuple[str, ...] = ()
    """The qualified names of the domains, outermost first."""
    folding: str | None = None
    """SQL of the column's collation if it finds different texts equal, as one without case does."""

    def read(self, text: str) -> str:
        """Give SQL that reads an SQL expression of type text as the base type's input does.

        Casts from text to some types are functions of their own: `'-'::text::regclass` fails and
        `'\\377'::text::"char"` is a backslash.
        """
        if self.is_builtin(*_READ_BY):
            return f"pg_catalog.{_READ_BY[self.name]}(pg_catalog.textout({text}))"
        return f"{text}::{self.unbound_cast}" + (f" COLLATE {self.folding}" if self.folding else "")

    @property
    def is_exact(self) -> bool:
        """Whether equal values are the same byte for byte, unlike 1 and 1.00 of numeric."""
        return self.kind == "e" or (self.is_builtin(*_EXACT) and self.folding is None)

    def canonical(self, value: str) -> str:
        """Give SQL of one value for all that are equal to a value of the base type.

        1 and 1.00 of numeric are equal, `alice` and `Alice` of citext, `1 mon` and `30 days`.
        """
        if self.is_from("citext", "citext"):
            return f"lower({value}::text)"
        if self.is_builtin("float4", "float8"):
            return f"({value} + 0)"  # -0 becomes 0
        form = _CANONICAL.get(self.name) if self.schema == "pg_catalog" else None
        return value if form is None else f"{form}({value})"

    def is_builtin(self, *names: str) -> bool:
        """Whether the base type is one of these types of pg_catalog."""
        return self.schema == "pg_catalog" and self.name in names

    def is_from(self, extension: str, *names: str) -> bool:
        """Whether the base type is one of these types of an extension, in any schema."""
        return self.extension == extension and self.name in names

    def same_base(self, other: PgType) -> bool:
        """Whether both have the same base type, in two databases, whatever modifier applies.

        The schema of an extension's type may differ between databases; that of an enum or a
        composite may not matter either, as long as its labels or fields are alike.
        """
        if self.element is not None or other.element is not None:
            return (
                self.element is not None
                and other.element is not None
                and self.element.same_base(other.element)
            )
        if self.kind == other.kind == "e":
            return self.labels == other.labels
        if self.kind == other.kind == "c":
            return [name for name, _ in self.fields] == [name for name, _ in other.fields] and all(
                one.same_base(two)
                for (_, one), (_, two) in zip(self.fields, other.fields, strict=True)
            )
        if self.extension is not None or other.extension is not None:
            return (self.extension, self.name) == (other.extension, other.name)
        return (self.schema, self.name) == (other.schema, other.name)

    def makes_equal(self, source: PgType) -> bool:
        """Whether values that the source's type tells apart may be equal here: a and A in citext.

        Only texts are read so freely; numbers and times of two types are equal in both.
        """
        if source.category != _TEXTS or not source.is_exact:
            return False
        padded = self.is_builtin("bpchar")  # blanks, of which nothing else is made, are refused
        return self.category != _TEXTS or not (self.is_exact or padded)

    @property
    def scalar(self) -> PgType:
        """The type of the elements of an array, else the type."""
        return self if self.element is None else self.element

    @property
    def length(self) -> int | None:
        """The most characters of a varchar or char, the bits of a bit string; None: any."""
        if self.modifier is None:
            return None
        if self.is_builtin("varchar", "bpchar"):
            return self.modifier - HEADER
        return self.modifier if self.is_builtin("bit", "varbit") else None

    @property
    def digits(self) -> tuple[int, int] | None:
        """The precision and scale of a numeric; None: any."""
        if self.modifier is None or not self.is_builtin("numeric"):
            return None
        packed = self.modifier - HEADER
        scale = packed & 0x7FF
        return packed >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale

    @property
    def second_digits(self) -> int | None:
        """The digits of the seconds' fraction that a date or time type keeps; None: all six."""
        if self.modifier is None:
            return None
        if self.is_builtin("time", "timetz", "timestamp", "timestamptz"):
            return self.modifier
        if self.is_builtin("interval") and self.modifier & 0xFFFF != _ANY_PRECISION:
            return self.modifier & 0xFFFF
        return None


_TEXTS = "S"
"""pg_type.typcategory of text and what is like it."""
_EXACT = (
    *("int2", "int4", "int8", "oid", "xid8", "bool", "uuid", "pg_lsn", "bytea", "bit", "varbit"),
    *("text", "varchar", "name", "char", "inet", "cidr", "macaddr", "macaddr8"),
    *("date", "time", "timetz", "timestamp", "timestamptz"),
)
_CANONICAL = {"numeric": "trim_scale", "bpchar": "rtrim", "interval": "justify_interval"}
_READ_BY = {"regclass": "regclassin", "char": "charin"}

UNRESOLVED = PgType("", "", "X", "b", None, "", "text", "text", "text")
"""Stands for the type of a column that is yet to be resolved."""


class ColumnType(NamedTuple):
    """A column as pg_attribute has it."""

    type: PgType
    nullable: bool
    toastable: bool
    """Whether its values can be stored out of line, so that an update may leave them out."""
    bare: str
    """The declared type without length, precision and scale."""


# -- from pg_catalog -------------------------------------------------------------------------

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
    """Give the columns of `table`, a quoted and qualified name; none where it does not exist."""
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


# -- from a declaration ----------------------------------------------------------------------

_SPELLINGS = {
    "smallint": "int2",
    "integer": "int4",
    "int": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "float": "float8",
    "decimal": "numeric",
    "boolean": "bool",
    "character varying": "varchar",
    "character": "bpchar",
    "char": "bpchar",
    '"char"': "char",
    "bit varying": "varbit",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}
_CATEGORIES = {
    **dict.fromkeys(("int2", "int4", "int8", "float4", "float8", "numeric", "money", "oid"), "N"),
    **dict.fromkeys(("date", "time", "timetz", "timestamp", "timestamptz"), "D"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), "S"),
    **dict.fromkeys(("inet", "cidr"), "I"),
    **dict.fromkeys(("bit", "varbit"), "V"),
    "interval": "T",
    "bool": "B",
    "char": "Z",
}
_EXTENSIONS = {"citext": "citext", "hstore": "hstore", "ltree": "ltree"}
_FIELDS = {
    "year": 1 << 2,
    "month": 1 << 1,
    "day": 1 << 3,
    "hour": 1 << 10,
    "minute": 1 << 11,
    "second": 1 << 12,
}
_ONE_WHERE_BARE = frozenset(("bpchar", "bit"))
_DECLARED = re.compile(r"([^(\[]+?) *(?:\(([\d, -]+)\))?( with(?:out)? time zone)? *((?:\[\d*\])*)")


def declared_type(declared: str) -> PgType:
    """Resolve a declaration such as `numeric(12,2)[]` without a database.

    A name that is not built in is taken as it is: nothing more can be known of it.
    """
    found = _DECLARED.fullmatch(declared.strip())
    if found is None:
        return _plain(declared, declared, None)
    name, bounds, zone, array = found.groups()
    spelled = f"{name}{zone or ''}".lower()
    bound = [int(part) for part in bounds.split(",")] if bounds else []
    scalar = _plain(name + (f"({bounds})" if bounds else "") + (zone or ""), spelled, bound)
    if not array:
        return scalar
    return PgType(
        schema=scalar.schema,
        name=f"_{scalar.name}",
        category="A",
        kind="b",
        modifier=scalar.modifier,
        declared=declared,
        cast=f"{scalar.cast}[]",
        unbound_cast=f"{scalar.unbound_cast}[]",
        base_cast=f"{scalar.base_cast}[]",
        element=scalar,
        extension=scalar.extension,
    )


def _plain(declared: str, spelled: str, bound: list[int] | None) -> PgType:
    first, _, fields = spelled.partition(" ")
    if first == "interval" and fields:
        modifier = _interval_fields(fields) << 16 | (bound[0] if bound else _ANY_PRECISION)
        plain = _plain(first, first, None)
        return replace(plain, modifier=modifier, declared=declared, cast=declared)
    name = _SPELLINGS.get(spelled, spelled)
    bare = name if name in _ONE_WHERE_BARE else spelled
    return PgType(
        schema="pg_catalog" if name not in _EXTENSIONS else "public",
        name=name,
        category=_CATEGORIES.get(name, "U"),
        kind="b",
        modifier=_modifier(name, bound) if bound else None,
        declared=declared,
        cast=declared,
        unbound_cast='"bit"' if bare == "bit" else bare,
        base_cast=declared,
        extension=_EXTENSIONS.get(name),
    )


def _interval_fields(text: str) -> int:
    """The mask of `day to second` and the like."""
    first, _, last = text.partition(" to ")
    names = list(_FIELDS)
    kept = names[names.index(first) : names.index(last or first) + 1]
    return sum(_FIELDS[name] for name in kept)


def _modifier(name: str, bound: list[int]) -> int | None:
    """The modifier as PostgreSQL packs it."""
    first, *others = bound
    if name == "numeric":
        scale = others[0] if others else 0
        return (first << 16 | scale & 0x7FF) + HEADER
    if name == "interval":
        return _ANY_FIELDS << 16 | first
    return first + HEADER if name in {"varchar", "bpchar"} else first
