"""Field types for the models of an `EventRoute`: values that PostgreSQL can store, in its format.

Needs pydantic, which comes with ``sink-runner[api]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    model_validator,
)

_MAX_DEPTH = 32
_MAX_UNKNOWN = 20
_NO_NUL = r"^[^\x00]*$"
_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_FRACTION = re.compile(r"(\.[0-9]{1,6})[0-9]*")


class EventModel(BaseModel):
    """An event that callers send: unknown fields are refused, and no error quotes their names."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _limit_unknown_names(cls, value: Any) -> Any:
        """Refuse many unknown names with one error: building 80,000 errors takes a second."""
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + _MAX_UNKNOWN:
            raise ValueError(f"must not have more than {_MAX_UNKNOWN} unknown names")
        return value


def _to_utc(text: str) -> str:
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper()))
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


def _to_integer(value: Any) -> Any:
    """Convert 12.0 to 12: it is an integer in JSON, but not in Python."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_storable(value: Any) -> Any:
    for depth, part in _walk(value):
        if depth > _MAX_DEPTH:
            raise ValueError(f"must not be nested deeper than {_MAX_DEPTH}")
        if isinstance(part, str) and ("\0" in part or not _is_encodable(part)):
            raise ValueError("must not contain NUL or half a surrogate pair")
        if isinstance(part, float) and part - part != 0:
            raise ValueError("must not contain NaN or Infinity")
    return value


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield the value and all parts of it with their depth, without recursion."""
    stack = [(0, value)]
    while stack:
        depth, part = stack.pop()
        yield depth, part
        if depth <= _MAX_DEPTH and isinstance(part, Mapping):
            stack += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif depth <= _MAX_DEPTH and isinstance(part, list):
            stack += [(depth + 1, inner) for inner in part]


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Uuid = Annotated[
    str,
    Field(strict=True, pattern=_UUID, json_schema_extra={"format": "uuid"}),
    AfterValidator(str.lower),
]
"""A UUID in PostgreSQL's format."""
Moment = Annotated[
    str,
    Field(strict=True, pattern=_MOMENT, json_schema_extra={"format": "date-time"}),
    AfterValidator(_to_utc),
]
"""A time with its zone, as ISO 8601 in UTC."""
Text = Annotated[str, Field(strict=True, pattern=_NO_NUL), AfterValidator(_check_storable)]
"""Text without NUL and without half a surrogate pair."""
Json = Annotated[dict[str, Any], AfterValidator(_check_storable)]
"""A JSON object that PostgreSQL can store, at most 32 levels deep."""
WHOLE = BeforeValidator(_to_integer)
"""Accepts 12.0 for 12.  Must be last in an annotation; else the OpenAPI document has no limits."""
Int = Annotated[StrictInt, Field(ge=-(2**31), le=2**31 - 1), WHOLE]
"""An integer of 32 bits."""
