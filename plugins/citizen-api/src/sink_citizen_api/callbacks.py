"""The callbacks: a forecast and an alert, each an inserted row of a table of smart_warehouse."""

from typing import Annotated, Literal

from pydantic import ConfigDict, FailFast, Field, StrictFloat, StrictInt

from sink_runner.plugin import CapturedColumn, EventRoute
from sink_runner.plugin.field_types import WHOLE, EventModel, Int, Json, Moment, Text, Uuid

_MAX_INT = 2**31 - 1
_MAX_RUPEES = 9_999_999_999_999.99
_MAX_PROJECTIONS = 1000


class Forecast(EventModel):
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

    forecast_id: Int = Field(
        description="Its number; a later forecast under the same number replaces it."
    )
    family_id: Uuid = Field(description="The family that it is for.")
    horizon_months: Annotated[StrictInt, Field(ge=1, le=_MAX_INT), WHOLE] = Field(
        description="How many months it looks ahead."
    )
    total_annual_value: Annotated[StrictFloat, Field(ge=0, le=_MAX_RUPEES, allow_inf_nan=False)] = (
        Field(description="Rupees a year, rounded half up to two decimals.")
    )
    scheme_count: Annotated[StrictInt, Field(ge=0, le=_MAX_INT), WHOLE] = Field(
        description="How many schemes it counts."
    )
    projections: Annotated[list[Json], FailFast(), Field(max_length=_MAX_PROJECTIONS)] = Field(
        description="One object for each projection; the masking policies choose its members."
    )
    generated_at: Moment = Field(
        description="When it was generated, with its zone; the newest of a number wins."
    )
    status: Literal["COMPLETED"] = Field(
        default="COMPLETED", description="A forecast in progress or failed is not accepted."
    )


class Alert(EventModel):
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
    family_id: Uuid = Field(description="The family whose citizen gets the alert.")
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
    ] = Field(
        default=None,
        description="Where the citizen can act: a URL, or a path of the portal. The masking "
        "policies cut off its query and fragment.",
    )
    created_at: Moment = Field(description="When it was raised, with its zone.")


FORECASTS = EventRoute(
    name="forecasts",
    model=Forecast,
    scope="forecasts:write",
    table="smart_warehouse.forecast.benefit_forecasts",
    columns=(
        CapturedColumn("forecast_id", "int"),
        CapturedColumn("family_id", "uuid"),
        CapturedColumn("horizon_months", "int"),
        CapturedColumn("total_annual_value", "decimal", nullable=True, scale=2),
        CapturedColumn("scheme_count", "int", nullable=True),
        CapturedColumn("projections", "json"),
        CapturedColumn("generated_at", "timestamp"),
        CapturedColumn("updated_at", "timestamp", nullable=True),
    ),
)
ALERTS = EventRoute(
    name="alerts",
    model=Alert,
    scope="alerts:write",
    table="smart_warehouse.alerts.ml_alert_outbox",
    columns=(
        CapturedColumn("alert_id", "uuid"),
        CapturedColumn("family_id", "uuid"),
        CapturedColumn("alert_type", "text"),
        CapturedColumn("severity", "text"),
        CapturedColumn("message", "text"),
        CapturedColumn("action_url", "text", nullable=True),
        CapturedColumn("source_use_case", "text", nullable=True),
        CapturedColumn("created_at", "timestamp"),
    ),
)
