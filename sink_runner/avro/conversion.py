"""Convert values in Debezium's form to PostgreSQL's text, and to the Python types of hooks.

Most values need no conversion, neither for PostgreSQL's text input nor for a plugin.  For others
there is a converter for each column, chosen once by the writer's schema and the resolved type of
the source column.

It reads what Debezium writes with `decimal.handling.mode=string`,
`time.precision.mode=isostring`, `interval.handling.mode=string` and
`binary.handling.mode=base64` (or `bytes`), with or without a converter that writes a column as
PostgreSQL's own text.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar

from ..errors import DecodeError
from ..model.envelope import ColumnType, Kind
from ..postgres.infinity import INFINITE_DATES, INFINITE_MOMENTS, INFINITE_ZONED
from ..postgres.text import (
    array_literal,
    float4_text,
    float8_text,
    hstore_literal,
    parse_array,
    parse_hstore,
)
from ..postgres.types import UNRESOLVED, PgType

_NUMBERS = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}
_BY_TYPE = {"numeric": Kind.DECIMAL, "money": Kind.DECIMAL, "bytea": Kind.BASE64}
_FAR = re.compile(r"([+-]?\d{4,})(-\d\d-\d\d(?:T[\d:.]+)?Z?)")
# What overflows in Debezium leave of PostgreSQL's infinities, as recorded.  Date '-infinity' is
# missing on purpose: its "-5877611-06-22Z" was also seen where the other sign was expected.  The
# moment that has the text of "infinity" is written by PostgresText.java without the sign.
_INFINITE = {
    "infinity": "infinity",
    "-infinity": "-infinity",
    "+294247-01-10T04:00:25.2Z": "infinity",
    "-290308-12-21T19:59:27.6Z": "-infinity",
    "-5877611-06-21Z": "infinity",
}
_DATE_YEARS = range(-4712, 5_874_898)
_TIMESTAMP_YEARS = range(-4712, 294_277)
_DATE_LENGTH = len("2024-02-29Z")

_T = TypeVar("_T", bound=date)
Convert = Callable[[Any], Any]


def effective_kind(kind: Kind, pg: PgType) -> Kind:
    """Return the kind by PostgreSQL's type: a writer's schema calls numeric and bytea strings."""
    if kind is Kind.STRING and pg.schema == "pg_catalog":
        return _BY_TYPE.get(pg.name, kind)
    return kind


# -- to PostgreSQL's text input ------------------------------------------------------------


def to_postgres(
    kind: Kind, pg: PgType = UNRESOLVED, item: ColumnType | None = None
) -> Convert | None:
    """Return what turns a non-null value into PostgreSQL's spelling; None if it already is.

    `pg` is the type of the source's column and `item` what the writer's schema says of the
    elements of an array.  The converter raises DecodeError.
    """
    kind = effective_kind(kind, pg)
    if kind is Kind.ARRAY:
        return _array_text(pg, item)
    if kind in {Kind.JSON, Kind.MAP} and pg.is_from("hstore", "hstore"):
        return _hstore_text
    if kind is Kind.BITS:
        return partial(_bit_text, pg.length) if pg.is_builtin("bit") else _opaque
    if kind is Kind.BOOLEAN and pg.is_builtin("bit", "varbit"):
        return _one_bit
    return _SPELLED.get(kind)


def _array_text(pg: PgType, item: ColumnType | None) -> Convert:
    element = pg.element or UNRESOLVED
    convert = None if item is None else to_postgres(item.kind, element, item.item)
    delimiter = ";" if element.is_builtin("box") else ","

    def spell(value: Any) -> str:
        return text_of(value) if convert is None else str(convert(value))

    def array(values: Any) -> str:
        if isinstance(values, str):
            return values
        if values and all(value is None for value in values):
            raise DecodeError(
                "an array holds only NULL, which is also what Debezium writes for an array of "
                "arrays: let it write arrays as text (debezium.source.converters)"
            )
        return array_literal(values, spell, delimiter)

    return array


def text_of(value: Any) -> str:
    """Return a decoded value without a special form as text that PostgreSQL reads."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return float8_text(value)
        case bytes():
            return "\\x" + value.hex()
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _hstore_text(value: Any) -> str:
    try:
        return hstore_literal(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, AttributeError):
        raise DecodeError("an hstore is not spelled as Debezium spells it") from None


def _bit_text(length: int | None, value: bytes) -> str:
    """Return the bits; Debezium writes only the bytes that have set bits, the last one first."""
    size = 1 if length is None else length
    return f"{int.from_bytes(value, 'little'):0{size}b}"


def _one_bit(value: int) -> str:
    return "1" if value else "0"


def _decimal_text(value: str) -> str:
    return _NUMBERS.get(value, value)


def _hex_text(value: str) -> str:
    return "\\x" + _bytes(value).hex()


def _date_text(value: str) -> str:
    if len(value) == _DATE_LENGTH and value >= "0001":
        return value
    return _far_text(value, _DATE_YEARS)


def _timestamp_text(value: str) -> str:
    if value[4:5] == "-" and value >= "0001":
        return value
    return _far_text(value, _TIMESTAMP_YEARS)


def _far_text(value: str, years: range) -> str:
    """Respell an infinity, or a year before 1 or after 9999."""
    if value in _INFINITE:
        return _INFINITE[value]
    found = _FAR.fullmatch(value)
    if found is None:
        raise DecodeError("a date or timestamp is not spelled as Debezium spells it")
    year = int(found[1])
    if year not in years:
        raise DecodeError("a date or timestamp may be an infinity, but which one is not certain")
    return f"{year:04}{found[2]}" if year > 0 else f"{1 - year:04}{found[2]} BC"


def _opaque(_value: object) -> str:
    raise DecodeError(
        "a column's form is not supported: Debezium must run with decimal.handling.mode=string, "
        "time.precision.mode=isostring and interval.handling.mode=string, and write other types "
        "as text (debezium.source.converters)"
    )


_SPELLED: dict[Kind, Convert] = {
    Kind.DECIMAL: _decimal_text,
    Kind.BASE64: _hex_text,
    Kind.DATE: _date_text,
    Kind.TIMESTAMP: _timestamp_text,
    Kind.TIMESTAMP_TZ: _timestamp_text,
    Kind.FLOAT: float4_text,
    Kind.DOUBLE: float8_text,
    Kind.OPAQUE: _opaque,
}

# -- to Python -----------------------------------------------------------------------------


def to_python(
    kind: Kind, pg: PgType = UNRESOLVED, item: ColumnType | None = None
) -> Convert | None:
    """Return what turns a non-null value into what a plugin's author expects; None if it is that.

    UUID, JSON, bit strings and intervals stay text, and an hstore becomes JSON.  An infinite date
    or timestamp becomes the largest or smallest that Python has, and is written as the infinity
    again.  The converter raises DecodeError.
    """
    kind = effective_kind(kind, pg)
    if kind is Kind.ARRAY:
        items = None if item is None else to_python(item.kind, pg.scalar, item.item)
        return _list(items or _as_it_is)  # a list of its own, which an author may change
    if kind is Kind.STRING and pg.element is not None:
        return partial(_items_of_text, pg.element, _of_text(pg.element))
    if kind is Kind.STRING and pg.is_from("hstore", "hstore"):
        return _json_of_hstore
    if kind is Kind.FLOAT:
        return _single
    if kind is Kind.BITS or (kind is Kind.BOOLEAN and pg.is_builtin("bit", "varbit")):
        return to_postgres(kind, pg)
    return _PYTHON.get(kind)


def _as_it_is(value: Any) -> Any:
    return value


def _list(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None

    def items(values: Any) -> Any:
        return [
            value if value is None else items(value) if isinstance(value, list) else convert(value)
            for value in values
        ]

    return items


def _items_of_text(element: PgType, convert: Convert | None, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    items = parse_array(value, ";" if element.is_builtin("box") else ",")
    every = _list(convert)
    return items if every is None else every(items)


def _of_text(pg: PgType) -> Convert | None:
    """Return what turns PostgreSQL's own text of an element into a Python value."""
    return _FROM_TEXT.get(pg.name) if pg.schema == "pg_catalog" else None


def _json_of_hstore(value: str) -> str:
    return json.dumps(parse_hstore(value), ensure_ascii=False)


def _single(value: float) -> float:
    """Return the double with the shortest text of a single-precision number: 0.1 stays 0.1."""
    return float(float4_text(value))


def _bytes_of_hex(value: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("\\x"))
    except ValueError:
        raise DecodeError("a bytea is not spelled as PostgreSQL spells it") from None


def _decimal(value: str) -> Decimal:
    try:
        return Decimal(_NUMBERS.get(value, value))
    except InvalidOperation:
        raise DecodeError("a decimal is not spelled as Debezium spells it") from None


def _date(value: str) -> date:
    try:
        return date.fromisoformat(value.removesuffix("Z"))
    except ValueError:
        return _infinite(_date_text(value), INFINITE_DATES)


def _timestamp(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        # Debezium adds Z although the column has no zone; a row of a batch run has no Z.
        return moment if moment.tzinfo is None else moment.replace(tzinfo=None)
    except ValueError:
        return _infinite(_timestamp_text(value), INFINITE_MOMENTS)


def _zoned(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return _infinite(_timestamp_text(value), INFINITE_ZONED)


def _infinite(text: str, infinities: Mapping[str, _T]) -> _T:
    try:
        return infinities[text]
    except KeyError:
        raise DecodeError("a date or timestamp has a year that Python cannot hold") from None


def _bytes(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise DecodeError("a bytea is not spelled as Debezium spells it") from None


def _time(value: str) -> time:
    return _time_tz(value).replace(tzinfo=None)


def _time_tz(value: str) -> time:
    try:
        return time.fromisoformat(value)
    except ValueError:
        raise DecodeError("a time has a form that Python cannot hold") from None


_PYTHON: dict[Kind, Convert] = {
    Kind.DECIMAL: _decimal,
    Kind.BASE64: _bytes,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMP_TZ: _zoned,
    Kind.TIME: _time,
    Kind.TIME_TZ: _time_tz,
    Kind.OPAQUE: _opaque,
}
_FROM_TEXT: dict[str, Convert] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("float4", "float8"), float),
    "bool": "t".__eq__,
    "numeric": _decimal,
    "bytea": _bytes_of_hex,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _zoned,
    "time": _time,
    "timetz": _time_tz,
}
