"""Choose the form in which a column's decoded values are staged: unchanged, or as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from ..avro.conversion import to_postgres, to_python
from ..model.envelope import ColumnType, Kind
from ..postgres.text import float4_text, moment_text
from ..postgres.types import UNRESOLVED, PgType
from .pg_encoding import staged_as, to_text

Converter: TypeAlias = Callable[[Any], Any]

_TEXT = frozenset({"text"})
_FITS: Mapping[Kind, frozenset[str]] = {
    Kind.INT: frozenset({"int4", "int8"}),
    Kind.LONG: frozenset({"int8"}),
    Kind.DOUBLE: frozenset({"float8"}),
    Kind.BOOLEAN: frozenset({"bool"}),
    **dict.fromkeys((Kind.FLOAT, Kind.BYTES, Kind.ARRAY, Kind.MAP), frozenset()),
}

_MOMENTS = frozenset({Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ})


def fitting(kind: Kind, source: PgType) -> frozenset[str]:
    """Return the staging types that accept a column's decoded values unchanged."""
    found = _FITS.get(kind, _TEXT)
    return found | {"int2"} if source.is_builtin("int2") else found


def spelling(
    kind: Kind, source: PgType, item: ColumnType | None, target: PgType
) -> Converter | None:
    """Return the function that makes PostgreSQL's text of a decoded value; None if none is needed.

    `source` is UNRESOLVED if the type of the source column is unknown.
    """
    if target.is_builtin("json", "jsonb"):
        as_json = _json_spelling(kind, source, item)
        if as_json is not None:
            return as_json
    respell = to_postgres(kind, target if source is UNRESOLVED else source, item)
    if kind in _MOMENTS and (target.category == "S" or target.is_builtin("interval")):
        printed = partial(moment_text, zoned=kind is Kind.TIMESTAMP_TZ)
        return printed if respell is None else lambda value: printed(respell(value))
    return respell


def restaging(source: PgType) -> Converter | None:
    """Return the function that makes PostgreSQL's text of a hook's value, if one is needed."""
    if source.element is not None or source.is_from("hstore", "hstore"):
        return staged_as(source, "text")
    if source.is_builtin("float4"):
        return lambda value: float4_text(value) if isinstance(value, float) else to_text(value)
    if source.is_builtin("date", "time", "timestamp", "timestamptz"):
        zoned = source.is_builtin("timestamptz")
        return lambda value: moment_text(to_text(value), zoned=zoned)
    return None


def _json_spelling(kind: Kind, source: PgType, item: ColumnType | None) -> Converter | None:
    """Return the function that makes JSON of an array or hstore; None for other columns."""
    convert = to_python(kind, source, item)
    if kind is Kind.MAP or source.is_from("hstore", "hstore"):
        return to_text if kind is Kind.JSON or convert is None else convert
    if kind is Kind.ARRAY or source.element is not None:
        return to_text if convert is None else lambda value: to_text(convert(value))
    return None
