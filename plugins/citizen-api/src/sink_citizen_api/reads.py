"""The masked reads: eligibility and forecast of a family, profile of a person."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sink_runner.plugin import PathParameter, QueryRoute
from sink_runner.plugin.field_types import Uuid

_FAMILY = "6f1c1e2a-6d0b-4f57-9a55-0d6c1c1f0a11"
_RECORD = "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55"


class SchemeEligibility(BaseModel):
    """The best evaluation that a family has for one scheme."""

    scheme_code: str | None
    member_id: str | None = Field(
        description="The member that it is about; null: the whole family."
    )
    evaluation_status: str | None = Field(
        description="RULE_ELIGIBLE, POSSIBLE_ELIGIBLE, UNCERTAIN or NOT_ELIGIBLE."
    )
    eligibility_score: float | None
    confidence_score: float | None
    explanation: str | None
    evaluation_timestamp: str | None


class FamilyEligibility(BaseModel):
    """What a family is eligible for now, the best score first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "family_id": _FAMILY,
                "schemes": [
                    {
                        "scheme_code": "OLD_AGE_PENSION",
                        "member_id": _RECORD,
                        "evaluation_status": "RULE_ELIGIBLE",
                        "eligibility_score": 0.91,
                        "confidence_score": 0.88,
                        "explanation": "Age and income are within the scheme's limits.",
                        "evaluation_timestamp": "2026-01-31T04:30:00Z",
                    }
                ],
            }
        }
    )

    family_id: str
    schemes: list[SchemeEligibility]


class FamilyForecast(BaseModel):
    """A family's latest forecast."""

    forecast_id: int | None
    family_id: str | None
    horizon_months: int | None
    total_annual_value: float | None
    scheme_count: int | None
    projections: list[Any] | None
    generated_at: str | None


class Profile(BaseModel):
    """A person's profile as the caller's group may see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "gr_id": _RECORD,
                "family_id": _FAMILY,
                "jan_aadhaar": "****-****-1234",
                "full_name": "Asha Devi",
                "date_of_birth": "1958-03-02",
                "gender": "Female",
                "district_id": 7,
                "city_village": "Bagru",
                "mobile_number": "******3210",
                "email": "a***@example.com",
                "inferred_income_band": "CONFIDENTIAL",
                "vulnerability_level": "HIGH",
                "under_coverage_indicator": True,
                "cluster_id": "rural-12",
                "updated_at": "2026-01-31T04:30:00Z",
            }
        }
    )

    gr_id: str | None
    family_id: str | None = Field(description="Null for the head of a family: gr_id is the family.")
    jan_aadhaar: str | None
    full_name: str | None
    date_of_birth: str | None
    gender: str | None
    district_id: int | None
    city_village: str | None
    mobile_number: str | None
    email: str | None
    inferred_income_band: str | None
    vulnerability_level: str | None
    under_coverage_indicator: bool | None
    cluster_id: str | None
    updated_at: str | None


def _sql(name: str) -> str:
    return files(__package__).joinpath("sql", f"{name}.sql").read_text()


def _eligibility(parameters: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"family_id": parameters["family_id"], "schemes": rows}


_FAMILY_ID = PathParameter("family_id", Uuid, "The family.", example=_FAMILY)
ELIGIBILITY = QueryRoute(
    name="family_eligibility",
    path="/families/{family_id}/eligibility",
    model=FamilyEligibility,
    scope="eligibility:read",
    sql=_sql("eligibility"),
    parameters=(_FAMILY_ID,),
    answer=_eligibility,
    summary="Eligibility of a family, now",
    description="The latest evaluation of each member and scheme; of each scheme the best "
    "member's.",
    not_found="this family was never evaluated",
)
FORECAST = QueryRoute(
    name="family_forecast",
    path="/families/{family_id}/forecast",
    model=FamilyForecast,
    scope="forecasts:read",
    sql=_sql("forecast"),
    parameters=(_FAMILY_ID,),
    summary="Latest forecast of a family",
    description="The newest forecast that the warehouse has.",
    not_found="there is no forecast for this family",
)
PROFILE = QueryRoute(
    name="profile",
    path="/profiles/{gr_id}",
    model=Profile,
    scope="profiles:read",
    sql=_sql("profile"),
    parameters=(PathParameter("gr_id", Uuid, "The person's golden record.", example=_RECORD),),
    summary="Profile of a person",
    description="Masked for the caller's group, as everything that leaves the warehouse.",
    not_found="there is no record, or it was merged or given up",
)
