"""What goes in and out: every field with its limits, which are those of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictFloat,
    StrictInt,
    model_validator,
)

_INT = 2**31 - 1
_MONEY = 9_999_999_999_999.99
_DEEPEST = 32
_MOST_PROJECTIONS = 1000
_MOST_UNKNOWN = 20
"""A request full of unknown names would cost a second, and a fault for each."""
_NO_NUL = r"^[^\x00]*$"
_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_FRACTION = re.compile(r"(\.[0-9]{1,6})[0-9]*")


def _moment(text: str) -> str:
    """The same moment in UTC, as PostgreSQL's TIMESTAMP and Debezium have it."""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper()))
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise ValueError("is no moment") from None


def _whole(value: Any) -> Any:
    """To JSON 12.0 is an integer like 12; to Python it is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)  # behind the limits, or the description does not show them
Uuid = Annotated[
    str,
    Field(strict=True, pattern=_UUID, json_schema_extra={"format": "uuid"}),
    AfterValidator(str.lower),
]
Moment = Annotated[
    str,
    Field(strict=True, pattern=_MOMENT, json_schema_extra={"format": "date-time"}),
    AfterValidator(_moment),
]


def _storable(value: Any) -> Any:
    """JSON that PostgreSQL stores: no NUL, no half a character, no depth without bottom."""
    for depth, part in _parts(value):
        if depth > _DEEPEST:
            raise ValueError(f"is nested deeper than {_DEEPEST}")
        if isinstance(part, str) and ("\0" in part or not _is_text(part)):
            raise ValueError("holds a character that is none")
        if isinstance(part, float) and part - part != 0:
            raise ValueError("holds a number that is none")
    return value


def _parts(value: Any) -> Iterator[tuple[int, Any]]:
    waiting = [(0, value)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if depth <= _DEEPEST and isinstance(part, Mapping):
            waiting += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif depth <= _DEEPEST and isinstance(part, list):
            waiting += [(depth + 1, inner) for inner in part]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Text = Annotated[str, Field(strict=True, pattern=_NO_NUL), AfterValidator(_storable)]
Json = Annotated[dict[str, Any], AfterValidator(_storable)]


class _Callback(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + _MOST_UNKNOWN:
            raise ValueError(f"has more than {_MOST_UNKNOWN} unknown names")
        return value


class Forecast(_Callback):
    """A completed benefit forecast of one family."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "forecast_id": 4711,
                    "family_id": "6f1c1e2a-6d0b-4f57-9a55-0d6c1c1f0a11",
                    "horizon_months": 12,
                    "total_annual_value": 36000.5,
                    "scheme_count": 2,
                    "projections": [
                        {
                            "scheme_code": "OLD_AGE_PENSION",
                            "benefit_amount": 12000,
                            "probability": 0.93,
                        },
                        {
                            "scheme_code": "KISAN_CREDIT",
                            "benefit_amount": 24000.5,
                            "probability": 0.71,
                        },
                    ],
                    "generated_at": "2026-01-31T04:30:00Z",
                    "status": "COMPLETED",
                }
            ]
        }
    )

    forecast_id: Annotated[StrictInt, Field(ge=-_INT - 1, le=_INT), _WHOLE] = Field(
        description="Its number; a later forecast under the same number replaces it."
    )
    family_id: Uuid = Field(description="The family that it is for.")
    horizon_months: Annotated[StrictInt, Field(ge=1, le=_INT), _WHOLE] = Field(
        description="How many months it looks ahead."
    )
    total_annual_value: Annotated[StrictFloat, Field(ge=0, le=_MONEY, allow_inf_nan=False)] = Field(
        description="Rupees a year, rounded half up to two decimals."
    )
    scheme_count: Annotated[StrictInt, Field(ge=0, le=_INT), _WHOLE] = Field(
        description="How many schemes it counts."
    )
    projections: Annotated[list[Json], FailFast(), Field(max_length=_MOST_PROJECTIONS)] = Field(
        description="One object for each projection; the masking policies choose its members."
    )
    generated_at: Moment = Field(
        description="When it was generated, with its zone; the newest of a number wins."
    )
    status: Literal["COMPLETED"] = Field(
        default="COMPLETED", description="A forecast in progress or failed is not accepted."
    )


class Alert(_Callback):
    """An alert that a model raises for one family."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "alert_id": "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55",
                    "family_id": "6f1c1e2a-6d0b-4f57-9a55-0d6c1c1f0a11",
                    "alert_type": "BENEFIT_EXPIRING",
                    "severity": "HIGH",
                    "message": "A pension of your family ends next month.",
                    "action_url": "/schemes/OLD_AGE_PENSION",
                    "created_at": "2026-01-31T04:30:00Z",
                }
            ]
        }
    )

    alert_id: Uuid = Field(description="Its id; an alert is delivered once.")
    family_id: Uuid = Field(description="The family whose citizen is told.")
    alert_type: Annotated[Text, Field(min_length=1, max_length=50)] = Field(
        description="What kind of alert it is, as a code; the masking policies replace other text."
    )
    severity: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
    message: Annotated[Text, Field(min_length=1, max_length=5000)] = Field(
        description="What the citizen reads; the masking policies scrub it on its way."
    )
    action_url: Annotated[
        str | None,
        Field(max_length=2000, pattern=r"^(https?://[!-.0-~][!-~]*|/([!-.0-~][!-~]*)?)$"),
        AfterValidator(_storable),
    ] = Field(
        default=None,
        description="Where the citizen can act: a URL, or a path of the portal. The masking "
        "policies cut off its query and fragment.",
    )
    created_at: Moment = Field(description="When it was raised, with its zone.")


class Accepted(BaseModel):
    """Where an accepted event is: durable, and on its way."""

    topic: str
    partition: int
    offset: int


class BulkAccepted(BaseModel):
    """Where each event is, in the order of the request."""

    accepted: list[Accepted]
