"""GraphQL reads several routes in one request, masked like the routes themselves."""

import pytest

from ...unit.api.test_graphql import post
from .test_reads import AADHAAR, EMAIL, MOBILE, admin, database, person, reader_dsn  # noqa: F401

pytestmark = pytest.mark.postgres
QUERY = """
query family($family: String!, $person: String!) {
  family_eligibility(family_id: $family) { schemes { scheme_code eligibility_score } }
  family_forecast(family_id: $family) { forecast_id total_annual_value projections }
  profile(gr_id: $person) { full_name jan_aadhaar mobile_number email inferred_income_band }
}
"""

ROWS = (
    "INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES ('P', 'P', 'X')",
    """INSERT INTO eligibility.eligibility_snapshots
    (family_id, scheme_code, evaluation_status, eligibility_score)
    VALUES (%(id)s, 'P', 'RULE_ELIGIBLE', 0.91)""",
    """INSERT INTO forecast.benefit_forecasts
    (forecast_id, family_id, total_annual_value, projections)
    VALUES (7, %(id)s, 36000.50, '[{"scheme_code": "P"}]')""",
)


@pytest.fixture
def service(serve, reader_dsn):  # noqa: F811
    return serve(reader_dsn=reader_dsn)


@pytest.fixture
def evaluated(admin, person):  # noqa: F811
    for statement in ROWS:
        admin.execute(statement, {"id": person})
    return person


def test_one_request_reads_eligibility_and_forecast(service, evaluated):
    response = post(service, QUERY, variables={"family": evaluated, "person": evaluated})
    assert response.status_code == 200
    body = response.json()
    assert "errors" not in body
    (scheme,) = body["data"]["family_eligibility"]["schemes"]
    assert scheme == {"scheme_code": "P", "eligibility_score": 0.91}
    forecast = body["data"]["family_forecast"]
    assert (forecast["forecast_id"], forecast["total_annual_value"]) == (7, 36000.5)


def test_answer_equals_that_of_the_route(service, evaluated):
    response = post(service, QUERY, variables={"family": evaluated, "person": evaluated})
    assert not any(raw in response.text for raw in (AADHAAR, MOBILE, EMAIL, "VERY_LOW"))
    route = service.get(f"/v1/profiles/{evaluated}").json()
    profile = response.json()["data"]["profile"]
    assert profile == {name: route[name] for name in profile}
    assert profile["jan_aadhaar"].endswith("1234")


def test_field_without_a_row_leaves_the_others(service, person):  # noqa: F811
    response = post(service, QUERY, variables={"family": person, "person": person}).json()
    assert response["data"]["family_forecast"] is None
    assert response["data"]["profile"]["full_name"]
    statuses = {error["path"][0]: error["extensions"]["status"] for error in response["errors"]}
    assert statuses == {"family_eligibility": 404, "family_forecast": 404}


def test_caller_without_a_group_sees_nothing(service, evaluated):
    variables = {"family": evaluated, "person": evaluated}
    body = post(service, QUERY, key="groupless", variables=variables).json()
    assert set(body["data"].values()) == {None}
    assert {error["extensions"]["status"] for error in body["errors"]} == {403}
