"""Health, the documentation page, the OpenAPI document, and unknown paths."""

import re
from typing import get_args

from sink_runner.api import problems
from sink_runner.api.debezium_envelope import KINDS
from sink_runner.plugin.http_api import Kind

from .test_callbacks import problem


def test_service_is_alive_during_outages(service):
    service.publisher.fails_from = 0
    assert service.client.get("/healthz").json() == {"status": "ok"}


def test_readiness_names_unavailable_dependency(service):
    answer = service.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "kafka": "ok",
        "registry": "ok",
        "database": "down",
        "policies": "ok",
    }


def test_page_lists_operations_and_loads_nothing_external(service):
    openapi = service.client.get("/openapi.json").json()
    page = service.client.get("/docs").text
    for path in openapi["paths"]:
        assert path in page
    assert "OLD_AGE_PENSION" in page
    assert not re.search(r"<script|<link|src=|https?://(?!schema)", page.split("<h2", 1)[0])


def test_operations_describe_requirements_and_errors(service):
    openapi = service.client.get("/openapi.json").json()
    assert len(openapi["paths"]) == 7
    for operations in openapi["paths"].values():
        for operation in operations.values():
            assert operation["security"] == [{"ApiKey": []}, {"Bearer": []}]
            assert "Scope `" in operation["description"]
            assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys()
            for status, answer in operation["responses"].items():
                media = problems.MEDIA_TYPE if int(status) >= 400 else "application/json"
                assert list(answer["content"]) == [media]


def test_examples_of_openapi_document_are_accepted(service):
    schemas = service.client.get("/openapi.json").json()["components"]["schemas"]
    for path, name in (("forecasts", "Forecast"), ("alerts", "Alert")):
        assert service.post(f"/v1/{path}", schemas[name]["examples"][0]).status_code == 202
        bulk = schemas[f"{name}s"]["examples"][0]
        assert service.post(f"/v1/{path}/bulk", bulk).status_code == 202


def test_unknown_path_or_method_is_a_problem(service):
    problem(service.get("/v1/nothing"), 404, "not-found")
    problem(service.client.get("/nothing"), 404, "not-found")
    answer = service.get("/v1/forecasts")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_no_spelling_of_path_skips_authentication(service):
    for path in (
        "/v1/forecasts",
        "/v1//forecasts",
        "//v1/forecasts",
        "/V1/forecasts",
        "/v1/../v1/forecasts",
        "/%76%31/forecasts",
        "/v1%2fforecasts",
    ):
        answer = service.client.request("POST", path, json={})
        assert answer.status_code in (401, 404), path


def test_every_kind_of_column_can_be_encoded():
    assert KINDS.keys() == set(get_args(Kind))
