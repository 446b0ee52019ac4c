"""Python values in the form in which they travel to PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any


def whole(value: Any) -> int:
    """A number without a fraction, however it is written; nothing is rounded in silence."""
    if isinstance(value, int):
        return int(value)
    try:
        number = Decimal(value)
        if number == number.to_integral_value():
            return int(number)
    except ArithmeticError:
        pass
    raise ValueError("something else where a whole number is wanted")


_TRUTH = {
    **dict.fromkeys(("t", "true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("f", "false", "no", "n", "off", "0"), False),
}


def truth(value: Any) -> bool:
    """A boolean, or text that PostgreSQL takes for one."""
    if not isinstance(value, str):
        return bool(value)
    try:
        return _TRUTH[value.strip().lower()]
    except KeyError:
        raise ValueError("text where a boolean is wanted") from None


_STAGE: Mapping[str, Callable[[Any], Any]] = {
    "int2": whole,
    "int4": whole,
    "int8": whole,
    "float8": float,
    "bool": truth,
}


def staged_as(type_: str, stage_type: str) -> Callable[[Any], Any]:
    """The function that makes a Python value fit for a column's staging type."""
    if stage_type != "text":
        return _STAGE[stage_type]
    return array_text if type_.endswith("[]") else to_text


def to_text(value: Any) -> str:
    """A value other than None as PostgreSQL reads it."""
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
            return str(value)


def text_key(value: Any) -> Any:
    """What a value is looked up by: its text; of several together, that of each or None."""
    if isinstance(value, tuple):
        return tuple(None if part is None else to_text(part) for part in value)
    return to_text(value)


def array_text(values: Any) -> str:
    """A list as PostgreSQL's array literal; text passes as it is."""
    if isinstance(values, str):
        return values
    return "{" + ",".join(_element(value) for value in values) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return array_text(value)
    text = to_text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
