"""What a change event says: its row, its position, and how Debezium spells PostgreSQL's values.

The decoder hands out values as they are written (`str`, `int`, `float`, `bool`, `bytes`, `list`,
None).  Most are good as they are, both for PostgreSQL's text input and for a plugin; for the
others this module has one converter a type, chosen once and not for each row.

It reads what Debezium writes with `decimal.handling.mode=string`,
`time.precision.mode=isostring`, `interval.handling.mode=string` and
`binary.handling.mode=base64` (or `bytes`).
"""

from __future__ import annotations

import enum
import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from hashlib import md5
from typing import Any, NamedTuple, TypeVar

from ..errors import DecodeError
from ..plugin import ABSENT

UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium writes for a TOASTed column that the change left alone."""


class Decoded(NamedTuple):
    """One change event.

    `after` and `before` hold the wanted columns in the wanted order, or are None where the event
    has no such row.  A column that the event does not carry (unchanged TOAST, or not in the
    writer's schema) is ABSENT.
    """

    op: str
    after: tuple[Any, ...] | None
    before: tuple[Any, ...] | None
    lsn: int | None
    ts_ms: int | None
    """When the source committed, in milliseconds since 1970."""
    origin: str | None
    """The replication origin of the session that wrote; None for an ordinary client."""
    snapshot: str | None
    """"false" or None for a change; else what part of a snapshot it is."""
    tx_id: int | None = None
    sequence: str | None = None
    """JSON text of the last commit's and this change's log positions."""
    order: int = 0
    """The change's number within its transaction; 0 where the event does not tell it."""


class Kind(enum.StrEnum):
    """What a column's values mean."""

    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    ENUM = "enum"
    UUID = "uuid"
    JSON = "json"
    XML = "xml"
    DATE = "date"
    TIME = "time"
    TIME_TZ = "timetz"
    TIMESTAMP = "timestamp"
    TIMESTAMP_TZ = "timestamptz"
    INTERVAL = "interval"
    DECIMAL = "decimal"
    BASE64 = "base64"
    """These two no schema tells from a string; they follow from the database's type."""
    ARRAY = "array"
    MAP = "map"
    OPAQUE = "opaque"
    """A form that Debezium writes only with other settings than the module's."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type as the writer's schema has it."""

    kind: Kind
    nullable: bool = False
    note: str = ""
    """Connect's name for the meaning, "" where it has none."""
    item: ColumnType | None = None
    """What an array holds."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of a writer's row, in order."""

    columns: Mapping[str, ColumnType]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def missing(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Wanted columns that the writer does not have."""
        return tuple(name for name in wanted if name not in self.columns)

    def unwanted(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The writer's columns that nobody wants."""
        return tuple(name for name in self.columns if name not in set(wanted))


# -- unchanged TOAST -----------------------------------------------------------------------

_UNAVAILABLE_BYTES = UNAVAILABLE.encode()
# Debezium derives it so, with Java's UUID.nameUUIDFromBytes, for arrays of uuid.
_UNAVAILABLE_UUID = str(
    uuid.UUID(bytes=md5(_UNAVAILABLE_BYTES, usedforsecurity=False).digest(), version=3)
)
UNAVAILABLE_MARKS = (_UNAVAILABLE_BYTES, b64encode(_UNAVAILABLE_BYTES))
"""The bytes of a message in which some column is unavailable, unless that column is an array."""
_UNAVAILABLE_FORMS = (
    UNAVAILABLE,
    UNAVAILABLE_MARKS[1].decode(),
    _UNAVAILABLE_BYTES,
    [UNAVAILABLE],
    [_UNAVAILABLE_BYTES],
    list(_UNAVAILABLE_BYTES),
    [_UNAVAILABLE_UUID],
    {UNAVAILABLE: UNAVAILABLE},
)


def is_unavailable(value: Any) -> bool:
    """Tell whether a value stands for an unchanged TOASTed one, in any of its forms."""
    return value in _UNAVAILABLE_FORMS


def without_unavailable(row: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Put ABSENT where a row has Debezium's placeholder."""
    if row is None or not any(map(is_unavailable, row)):
        return row
    return tuple(ABSENT if is_unavailable(value) else value for value in row)


# -- to PostgreSQL's text input ------------------------------------------------------------

_NUMBERS = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}
_DECLARED = {
    "numeric": Kind.DECIMAL,
    "decimal": Kind.DECIMAL,
    "money": Kind.DECIMAL,
    "bytea": Kind.BASE64,
}
_FAR = re.compile(r"([+-]?\d{4,})(-\d\d-\d\d(?:T[\d:.]+)?Z?)")
# What overflows in Debezium leave of PostgreSQL's infinities, as recorded.  Date '-infinity' is
# missing on purpose: its "-5877611-06-22Z" was also seen where the other sign was expected.
_INFINITE = {
    "infinity": "infinity",
    "-infinity": "-infinity",
    "+294247-01-10T04:00:25.2Z": "infinity",
    "-290308-12-21T19:59:27.6Z": "-infinity",
    "-5877611-06-21Z": "infinity",
}
_YEARS = range(-4712, 294277)
"""Those of PostgreSQL's timestamps; its dates go further, but Debezium's infinities hide there."""
_DATE_LENGTH = len("2024-02-29Z")

_T = TypeVar("_T", bound=date)
Convert = Callable[[Any], Any]


def effective_kind(kind: Kind, pg_type: str | None) -> Kind:
    """Tell a numeric or a bytea from a text: the writer's schema calls all of them strings."""
    declared = (pg_type or "").partition("(")[0].strip().lower()
    return _DECLARED.get(declared, kind) if kind is Kind.STRING else kind


def to_postgres(kind: Kind, pg_type: str | None = None) -> Convert | None:
    """Give what turns a non-null value into PostgreSQL's spelling; None if it already is.

    `pg_type` is the target column's type.  The converter raises DecodeError.
    """
    return {
        Kind.DECIMAL: _decimal_text,
        Kind.BASE64: _hex_text,
        Kind.DATE: _date_text,
        Kind.TIMESTAMP: _timestamp_text,
        Kind.TIMESTAMP_TZ: _timestamp_text,
        Kind.OPAQUE: _opaque,
    }.get(effective_kind(kind, pg_type))


def _decimal_text(value: str) -> str:
    return _NUMBERS.get(value, value)


def _hex_text(value: str) -> str:
    return "\\x" + _bytes(value).hex()


def _date_text(value: str) -> str:
    return value if len(value) == _DATE_LENGTH and value >= "0001" else _far_text(value)


def _timestamp_text(value: str) -> str:
    return value if value[4:5] == "-" and value >= "0001" else _far_text(value)


def _far_text(value: str) -> str:
    """Respell an infinity, or a year before 1 or after 9999."""
    if value in _INFINITE:
        return _INFINITE[value]
    found = _FAR.fullmatch(value)
    if found is None:
        raise DecodeError("a date or timestamp is not spelled as Debezium spells it")
    year = int(found[1])
    if year not in _YEARS:
        raise DecodeError("a date or timestamp may be an infinity, but which one is not certain")
    return f"{year:04}{found[2]}" if year > 0 else f"{1 - year:04}{found[2]} BC"


def _opaque(_value: object) -> str:
    raise DecodeError(
        "a column's form is not supported: Debezium must run with decimal.handling.mode=string, "
        "time.precision.mode=isostring and interval.handling.mode=string"
    )


# -- to Python -----------------------------------------------------------------------------


_LIMITS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def to_python(kind: Kind, pg_type: str | None = None) -> Convert | None:
    """Give what turns a non-null value into what a plugin's author expects; None if it is that.

    UUID, JSON and intervals stay text.  An infinite date or timestamp becomes the largest or
    smallest that Python has.  The converter raises DecodeError.
    """
    return {
        Kind.DECIMAL: _decimal,
        Kind.BASE64: _bytes,
        Kind.DATE: _date,
        Kind.TIMESTAMP: _timestamp,
        Kind.TIMESTAMP_TZ: _zoned,
        Kind.TIME: _time,
        Kind.TIME_TZ: _time_tz,
        Kind.OPAQUE: _opaque,
    }.get(effective_kind(kind, pg_type))


def _decimal(value: str) -> Decimal:
    try:
        return Decimal(_NUMBERS.get(value, value))
    except InvalidOperation:
        raise DecodeError("a decimal is not spelled as Debezium spells it") from None


def _date(value: str) -> date:
    try:
        return date.fromisoformat(value.removesuffix("Z"))
    except ValueError:
        return _infinite(_date_text(value), date.min, date.max)


def _timestamp(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        # Debezium's Z says nothing: the column has no zone.  A row of a batch has none.
        return moment if moment.tzinfo is None else moment.replace(tzinfo=None)
    except ValueError:
        first, last = (limit.replace(tzinfo=None) for limit in _LIMITS)
        return _infinite(_timestamp_text(value), first, last)


def _zoned(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return _infinite(_timestamp_text(value), *_LIMITS)


def _infinite(text: str, first: _T, last: _T) -> _T:
    if text not in {"infinity", "-infinity"}:
        raise DecodeError("a date or timestamp has a year that Python cannot hold")
    return last if text == "infinity" else first


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
