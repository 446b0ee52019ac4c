"""Encode Python values for the staging table of PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

from ..errors import ValueRefusedError
from ..postgres.narrowing import WHOLE_NUMBERS
from ..postgres.text import array_literal, float8_text, hstore_literal
from ..postgres.types import PgType


def whole_number(type_name: str) -> Callable[[Any], int]:
    """Return a function that reads an integer, and refuses a fraction or a number out of range.

    Binary COPY would keep the low bits of a number that is too large.
    """
    bound = WHOLE_NUMBERS[type_name]

    def whole(value: Any) -> int:
        number = int(value) if isinstance(value, int) else _whole(value)
        if not -bound <= number < bound:
            raise ValueRefusedError(f"a number is outside the range of {type_name}")
        return number

    return whole


def _whole(value: Any) -> int:
    try:
        number = Decimal(value)
        if number.is_finite() and number == number.to_integral_value():
            return int(number)
    except (ArithmeticError, TypeError, ValueError):
        pass
    raise ValueRefusedError("expected a whole number")


def double(value: Any) -> float:
    """Return a number as a double."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueRefusedError("expected a floating-point number") from None


_TRUTH = {
    **dict.fromkeys(("t", "true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("f", "false", "no", "n", "off", "0"), False),
}


def truth(value: Any) -> bool:
    """Return a boolean, also from a text that PostgreSQL reads as one."""
    if not isinstance(value, str):
        return bool(value)
    try:
        return _TRUTH[value.strip().lower()]
    except KeyError:
        raise ValueRefusedError("expected a boolean") from None


_STAGE: Mapping[str, Callable[[Any], Any]] = {
    **{name: whole_number(name) for name in WHOLE_NUMBERS},
    "float8": double,
    "bool": truth,
}


def staged_as(pg: PgType, stage_type: str) -> Callable[[Any], Any]:
    """Return the function that encodes a Python value for a column's staging type."""
    if stage_type != "text":
        return _STAGE[stage_type]
    if pg.is_from("hstore", "hstore"):
        return hstore_text
    if pg.element is None:
        return to_text
    return partial(array_text, delimiter=";") if pg.element.is_builtin("box") else array_text


_MOST_DIGITS = 1 << 18
"""Most digits of a numeric, before and after the point: PostgreSQL refuses more of them."""


def to_text(value: Any) -> str:
    """Return a value other than None as text that PostgreSQL reads."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime() | date() | time():
            return value.isoformat()
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=to_text)
        case bytes():
            return "\\x" + value.hex()
        case _:
            return _plain_text(value)


def _plain_text(value: Any) -> str:
    """Return a number as PostgreSQL prints it, without an exponent."""
    if isinstance(value, float):
        return float8_text(value)
    if isinstance(value, Decimal) and abs(value.adjusted()) < _MOST_DIGITS:
        return format(value, "f")
    return str(value)


def hstore_text(value: Any) -> str:
    """Return a mapping, or its JSON as hooks get it, as an hstore literal."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        return value
    try:
        return hstore_literal(json.loads(value) if isinstance(value, str) else value)
    except (AttributeError, ValueError):
        raise ValueRefusedError("expected an hstore") from None


def text_key(value: Any) -> Any:
    """Return the text by which a value is looked up; for a tuple, that of each item or None."""
    if isinstance(value, tuple):
        return tuple(None if part is None else to_text(part) for part in value)
    return to_text(value)


def array_text(values: Any, delimiter: str = ",") -> str:
    """Return a list as an array literal of PostgreSQL; a text is returned unchanged."""
    return values if isinstance(values, str) else array_literal(values, to_text, delimiter)
