"""Resolves a type by its declaration alone, where there is no database to ask.

The test harness and the columns of candidates have such types.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .types import ANY_FIELDS, ANY_PRECISION, HEADER, PgType

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
        modifier = _interval_fields(fields) << 16 | (bound[0] if bound else ANY_PRECISION)
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
        return ANY_FIELDS << 16 | first
    return first + HEADER if name in {"varchar", "bpchar"} else first
