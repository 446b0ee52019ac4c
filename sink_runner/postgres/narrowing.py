"""Refuse values that a narrower column of the target would change without an error.

PostgreSQL rounds a numeric to the column's scale, a timestamp to its precision and a double to a
real; it cuts blanks off a varchar and a name off at 63 bytes.  `narrowing` decides from both
types, once at the start, whether that can happen; if not, no check is called for a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from ..errors import ValueRefusedError
from .text import float4_text, float8_text, parse_array, single
from .types import PgType

Check = Callable[[Any], Any]
"""Returns its argument, or raises ValueRefusedError."""

WHOLE_NUMBERS = {"int2": 1 << 15, "int4": 1 << 31, "int8": 1 << 63}
"""The smallest number that is too large for each type."""
_WHOLE = tuple(WHOLE_NUMBERS)
_EXACT_DIGITS = {"float4": 6, "float8": 15}
"""The number of decimal digits that each type keeps."""
_WHOLE_DIGITS = {"int2": 5, "int4": 10, "int8": 19}
_NAME_BYTES = 63
_MICROSECONDS = 6
_ALL_FIELDS = 0x7FFF
_UNSIGNED = {"oid": 32, "xid": 32, "cid": 32, "xid8": 64}
_MONEY_SCALE = 2
_FRACTION = re.compile(r"\.(\d+)")
_MIDNIGHT = re.compile(r"(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00(?::?00)?)?)?Z?")
_DAY = re.compile(r"[+-]?\d+-\d\d-\d\d")
_CLOCK = re.compile(r"\d:\d\d")
_RELATIVE = re.compile(r"\b(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_ZONE = re.compile(
    r":\d\d(?:\.\d+)? *([+-]\d[\d:]*|[a-z]+(?:/[a-z/_+-]+)?)(?: bc)?$", re.IGNORECASE
)
_NO_ZONE = frozenset({"am", "pm", "bc", "ad", "z", "utc", "gmt", "zulu"})
_MOMENTS = "DT"
"""The categories of dates and times, and of intervals."""
_WITHOUT_BLANKS = "NBDT"
"""The categories of numbers, booleans, dates and times, whose text has no blank at its end."""
_AT_UTC = re.compile(r".*(?:Z|[+-]00(?::00){0,2})")


def narrowing(source: PgType, target: PgType) -> Check | None:
    """Return the check for values of one type that become another; None if all of them fit."""
    if source.element is not None and target.element is not None:
        return _each(narrowing(source.element, target.element), source.element)
    if source.element is not None or target.element is not None or target.schema != "pg_catalog":
        return None
    make = _BY_TARGET.get(target.name)
    return None if make is None else make(source, target)


def _each(check: Check | None, element: PgType) -> Check | None:
    if check is None:
        return None
    delimiter = ";" if element.is_builtin("box") else ","

    def check_items(values: Any) -> None:
        for value in values:
            if isinstance(value, list | tuple):
                check_items(value)
            elif value is not None:
                check(value)

    def check_array(value: Any) -> Any:
        check_items(parse_array(value, delimiter) if isinstance(value, str) else value)
        return value

    return check_array


# -- numbers ---------------------------------------------------------------------------------


def _number(value: Any) -> Decimal:
    try:
        if isinstance(value, float):
            return Decimal(float8_text(value))
        return Decimal(value)
    except (InvalidOperation, ValueError, TypeError):
        raise ValueRefusedError("expected a number") from None


def _last_place(number: Decimal) -> int:
    """The power of ten of the last digit other than 0.  Decimal's arithmetic would round."""
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or not number:
        return 0
    return exponent + len(digits) - len("".join(map(str, digits)).rstrip("0"))


def _to_unsigned(source: PgType, target: PgType) -> Check | None:
    """PostgreSQL reads -1 as the largest number."""
    if source.is_builtin(target.name):
        return None
    bound = 1 << _UNSIGNED[target.name]

    def check(value: Any) -> Any:
        if not 0 <= _number(value) < bound:
            raise ValueRefusedError(f"a number is outside the range of {target.declared}")
        return value

    return check


def _to_numeric(source: PgType, target: PgType) -> Check | None:
    if target.digits is None or _holds(target.digits, source):
        return None
    precision, scale = target.digits
    bound = Decimal(1).scaleb(precision - scale)

    def check(value: Any) -> Any:
        number = _number(value)
        if number.is_nan():
            return value
        if number.copy_abs() >= bound:
            raise ValueRefusedError(f"a number is too large for {target.declared}")
        if _last_place(number) < -scale:
            raise ValueRefusedError(f"a number has more digits than {target.declared} keeps")
        return value

    return check


def _holds(digits: tuple[int, int], source: PgType) -> bool:
    """Whether a numeric of these digits holds every value of a type."""
    precision, scale = digits
    if source.is_builtin(*_WHOLE):
        return scale >= 0 and precision - scale >= _WHOLE_DIGITS[source.name]
    if source.digits is None or not source.is_builtin("numeric"):
        return False
    other, other_scale = source.digits
    return other_scale <= scale and other - other_scale <= precision - scale


def _to_money(source: PgType, target: PgType) -> Check | None:
    if source.is_builtin("money", *_WHOLE):
        return None
    if source.digits is not None and source.digits[1] <= _MONEY_SCALE:
        return None

    def check(value: Any) -> Any:
        number = _number(value)
        if not number.is_finite() or _last_place(number) < -_MONEY_SCALE:
            raise ValueRefusedError(f"a number has more digits than {target.declared} keeps")
        return value

    return check


def _to_float(source: PgType, target: PgType) -> Check | None:
    digits = _EXACT_DIGITS[target.name]
    if source.is_builtin("float4", target.name):
        return None
    if source.is_builtin(*_WHOLE) and _WHOLE_DIGITS[source.name] <= digits:
        return None
    if source.digits is not None and source.digits[0] <= digits and source.digits[1] >= 0:
        return None
    text = float4_text if target.name == "float4" else float8_text

    def check(value: Any) -> Any:
        number = _number(value)
        if not number.is_finite():
            return value
        try:
            near = single(float(number)) if target.name == "float4" else float(number)
        except OverflowError:
            raise ValueRefusedError(f"a number is too large for {target.declared}") from None
        if Decimal(text(near)) != number:
            raise ValueRefusedError(f"a number has more digits than {target.declared} keeps")
        return value

    return check


def _to_boolean(source: PgType, _target: PgType) -> Check | None:
    if source.is_builtin("bool") or source.category == "S":
        return None

    def check(value: Any) -> Any:
        if not isinstance(value, bool) and str(value) not in {"0", "1", "true", "false"}:
            raise ValueRefusedError("expected true, false, 1 or 0 for a boolean")
        return value

    return check


# -- texts -----------------------------------------------------------------------------------


def _to_bounded(source: PgType, target: PgType) -> Check | None:
    """Longer texts are an error of PostgreSQL's, but for blanks at the end, which it cuts off."""
    length = target.length
    if length is None:
        return None
    if source.is_builtin(target.name) and source.length is not None:
        fits = source.length == length or (target.name != "bit" and source.length < length)
        if fits:
            return None
    padded = target.is_builtin("bpchar") and source.is_builtin("bpchar")
    exact = target.is_builtin("bit")
    unit = "bits" if target.is_builtin("bit", "varbit") else "characters"

    def check(value: Any) -> Any:
        text = value if isinstance(value, str) else str(value)
        size = len(text.rstrip(" ")) if padded else len(text)
        if size > length or (exact and size != length):
            raise ValueRefusedError(f"a value of {size} {unit} does not fit {target.declared}")
        return value

    return check


def _to_padded(source: PgType, target: PgType) -> Check | None:
    """Blanks at the end are part of a text, but not of the value of a char."""
    bounded = _to_bounded(source, target)
    if source.is_builtin("bpchar") or source.category in _WITHOUT_BLANKS:
        return bounded

    def check(value: Any) -> Any:
        if str(value).endswith(" "):
            raise ValueRefusedError(f"blanks at the end would be lost in {target.declared}")
        return value if bounded is None else bounded(value)

    return check


def _to_name(source: PgType, target: PgType) -> Check | None:
    if source.is_builtin("name"):
        return None

    def check(value: Any) -> Any:
        if len(str(value).encode()) > _NAME_BYTES:
            raise ValueRefusedError(f"a text is longer than the 63 bytes of {target.declared}")
        return value

    return check


def _to_char(source: PgType, target: PgType) -> Check | None:
    if source.is_builtin("char"):
        return None

    def check(value: Any) -> Any:
        if len(str(value).encode()) > 1:
            raise ValueRefusedError(f"a text is longer than the one byte of {target.declared}")
        return value

    return check


# -- dates and times ---------------------------------------------------------------------------


def _to_moment(source: PgType, target: PgType) -> Check | None:
    lost = _lost_part(source, target)
    if lost is not None:
        return lost
    spoken = None if source.category in _MOMENTS else _spoken(target)
    digits = target.second_digits
    if digits is None or _second_digits(source) <= digits:
        return spoken

    def check(value: Any) -> Any:
        found = _FRACTION.search(str(value))
        if found and len(found[1].rstrip("0")) > digits:
            raise ValueRefusedError(f"a time is more precise than {target.declared}")
        return value if spoken is None else spoken(value)

    return check


def _spoken(target: PgType) -> Check | None:
    """PostgreSQL reads `now` as the moment of the write and leaves out what the type lacks."""
    if target.is_builtin("interval"):
        return None

    def check(value: Any) -> Any:
        text = str(value).strip('" ')
        if _RELATIVE.search(text):
            raise ValueRefusedError("a text means another moment whenever it is read")
        if target.is_builtin("time", "timetz") and _DAY.match(text):
            raise ValueRefusedError(f"a date would be lost in {target.declared}")
        zone = _ZONE.search(text) if target.is_builtin("time", "timestamp") else None
        if zone and zone[1].lower() not in _NO_ZONE and zone[1].strip("+-0:"):
            raise ValueRefusedError(f"a time zone would be lost in {target.declared}")
        return value

    return check


def _second_digits(source: PgType) -> int:
    if source.is_builtin("date"):
        return 0
    return _MICROSECONDS if source.second_digits is None else source.second_digits


def loss(source: PgType, target: PgType) -> str | None:
    """Return what every value would lose on its way, for which none of them can arrive."""
    if target.is_builtin("time", "timetz") and source.is_builtin(
        "timestamp", "timestamptz", "date"
    ):
        return f"a date would be lost in {target.declared}"
    if target.is_builtin("interval") and source.is_builtin("interval"):
        kept = _interval_fields(target)
        if kept not in {_ALL_FIELDS, _interval_fields(source)}:
            return f"an interval may have other fields than {target.declared} keeps"
    return None


def _lost_part(source: PgType, target: PgType) -> Check | None:
    """Refuse what drops the date, the zone or some fields of a value."""
    reason = loss(source, target)
    if reason is not None:
        return _refuse(re.compile("(?!)"), reason)
    if target.is_builtin("time") and source.is_builtin("timetz"):
        return _refuse(_AT_UTC, f"a time zone would be lost in {target.declared}")
    return None


def _refuse(sound: re.Pattern[str], reason: str) -> Check:
    def check(value: Any) -> Any:
        if not sound.fullmatch(str(value)):
            raise ValueRefusedError(reason)
        return value

    return check


def _interval_fields(pg: PgType) -> int:
    return _ALL_FIELDS if pg.modifier is None else pg.modifier >> 16


def _to_date(source: PgType, target: PgType) -> Check | None:
    if source.is_builtin("date"):
        return None

    spoken = None if source.category in _MOMENTS else _spoken(target)

    def check(value: Any) -> Any:
        text = str(value if spoken is None else spoken(value)).strip('" ')
        found = _DAY.match(text)
        rest = text.removesuffix(" BC")[found.end() :] if found else text
        if _CLOCK.search(rest) and not _MIDNIGHT.fullmatch(rest):
            raise ValueRefusedError(f"a time of day would be lost in {target.declared}")
        return value

    return check


_BY_TARGET: dict[str, Callable[[PgType, PgType], Check | None]] = {
    "numeric": _to_numeric,
    "money": _to_money,
    "float4": _to_float,
    "float8": _to_float,
    "bool": _to_boolean,
    **dict.fromkeys(_UNSIGNED, _to_unsigned),
    **dict.fromkeys(("varchar", "bit", "varbit"), _to_bounded),
    "bpchar": _to_padded,
    "name": _to_name,
    "char": _to_char,
    **dict.fromkeys(("time", "timetz", "timestamp", "timestamptz", "interval"), _to_moment),
    "date": _to_date,
}
