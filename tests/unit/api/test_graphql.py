"""GraphQL requests that are refused, and what an error reveals: nothing of the request."""

import json

import pytest
from graphql import get_introspection_query
from pydantic import create_model

from sink_runner.api.graphql_types import TypeBuilder
from sink_runner.plugin import HttpApi

from ...support.api_service import FAMILY
from .test_callbacks import problem
from .test_plugin_routes import query_route

NOT_GRAPHQL = "the query is not GraphQL, is too deep or has more than 1000 tokens"
CANARY = "123412341234"
FORECAST = '{{ family_forecast(family_id: "{}") {{ forecast_id }} }}'


def post(service, query, *, key="all", **body):
    return service.post("/v1/graphql", {"query": query, **body}, key=key)


def refused(response) -> list[str]:
    """Return the messages of a document that was not executed."""
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/graphql-response+json")
    assert CANARY not in response.text
    assert "data" not in response.json()
    return [error["message"] for error in response.json()["errors"]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"{{ {CANARY}", NOT_GRAPHQL),
        (f"{{ x{CANARY} }}", "the query breaks the rule FieldsOnCorrectType"),
        (
            f"{{ profile(gr_id: {CANARY}) {{ email }} }}",
            "the query breaks the rule ValuesOfCorrectType",
        ),
        (
            "{ profile(gr_id: $id) { email } }",
            "the query breaks the rule NoUndefinedVariables",
        ),
        ("query a { __typename } query b { __typename }", "operationName must name one operation"),
        ("{ ...a } fragment a on Query { ...a }", "the query breaks the rule NoFragmentCycles"),
        ("{a" * 240 + "}" * 240, NOT_GRAPHQL),
        ("{" + "a " * 1000 + "}", NOT_GRAPHQL),
    ],
)
def test_invalid_document_is_refused_with_reason(service, query, message):
    assert refused(post(service, query))[0].startswith(message)


def test_invalid_variable_is_not_quoted(service):
    query = "query ($id: String!) { profile(gr_id: $id) { email } }"
    response = post(service, query, variables={"id": {CANARY: CANARY}})
    assert refused(response) == ["a variable is missing or has a value of another type"]


def aliases(count):
    return "{" + " ".join(f"a{n}: {FORECAST.format(FAMILY)[1:-1]}" for n in range(count)) + "}"


DOUBLING = (
    "{ "
    f'profile(gr_id: "{FAMILY}") {{ ...f0 }} }} '
    + " ".join(f"fragment f{n} on Profile {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
    + " fragment f40 on Profile { email }"
)


@pytest.mark.parametrize(
    ("query", "limits", "message"),
    [
        (aliases(11), "", "the query has more than 10 reads"),
        (DOUBLING, "", "the query has more than 500 fields"),
        (aliases(1), "max_query_depth = 1", "the query has more than 1 levels"),
        (aliases(1), "max_query_fields = 1", "the query has more than 1 fields"),
    ],
)
def test_expensive_document_is_refused_before_execution(serve, query, limits, message):
    assert refused(post(serve(limits=limits), query)) == [message]


def test_each_read_counts_as_a_request(serve):
    service = serve(limits="requests_per_second = 0.01\nburst = 4")
    assert post(service, aliases(3)).status_code == 200
    problem(post(service, aliases(3)), 429, "too-many-requests")


def test_field_needs_the_scope_of_its_route(service):
    response = post(service, FORECAST.format(FAMILY), key="none")
    (error,) = response.json()["errors"]
    assert response.json()["data"] == {"family_forecast": None}
    assert error["message"] == "the caller has no scope forecasts:read"
    assert error["path"] == ["family_forecast"]
    assert error["extensions"] == {"type": "urn:sink-runner:problem:forbidden", "status": 403}


def test_caller_must_be_known(service):
    problem(post(service, "{ __typename }", key=None), 401, "unauthorized")


def test_invalid_argument_is_named_and_not_quoted(service):
    response = post(service, FORECAST.format(CANARY))
    assert CANARY not in response.text
    assert response.json()["errors"][0]["message"] == "the argument family_id is not valid"


def test_database_that_is_down_is_an_error(service):
    (error,) = post(service, FORECAST.format(FAMILY)).json()["errors"]
    assert error["extensions"]["status"] == 503


def test_unknown_error_is_answered_by_500(service, monkeypatch):
    def fail(*_):
        raise KeyError(CANARY)

    monkeypatch.setattr(type(service.services), "read", fail)
    response = post(service, FORECAST.format(FAMILY))
    assert CANARY not in problem(response, 500, "internal")["detail"]


def test_tools_can_read_the_schema(service):
    body = post(service, get_introspection_query()).json()
    names = {kind["name"] for kind in body["data"]["__schema"]["types"]}
    assert {"Profile", "FamilyEligibility", "SchemeEligibility", "Long", "JSON"} <= names
    text = service.client.get("/schema.graphql").text
    assert "profile(\n" in text
    assert "forecast_id: Long" in text
    assert "projections: [JSON]" in text


def test_graphql_needs_a_query_route(serve):
    problem(post(serve(apis=[]), "{ __typename }"), 404, "not-found")


def test_route_without_a_model_is_json(serve):
    service = serve(apis=[HttpApi(routes=(query_route(model=dict, name="an-item"),))])
    assert "an_item(" in service.client.get("/schema.graphql").text
    assert "): JSON" in service.client.get("/schema.graphql").text


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int | None, "Long"),
        (bool, "Boolean"),
        (list[str | None] | None, "[String]"),
        (list[list[float]], "[[Float]]"),
        (dict[str, int], "JSON"),
        (int | str, "JSON"),
    ],
)
def test_annotation_becomes_a_graphql_type(annotation, expected):
    assert str(TypeBuilder().output(annotation)) == expected


def test_models_with_equal_names_get_different_types():
    builder = TypeBuilder()
    names = [str(builder.output(create_model("Item", **{n: (str, ...)}))) for n in "ab"]
    assert names == ["Item", "Item2"]


def test_body_is_checked_like_that_of_other_routes(service):
    answer = service.post("/v1/graphql", {"query": "{ __typename }", CANARY: 1})
    assert CANARY not in json.dumps(problem(answer, 422, "invalid"))
