"""A callback is published as the event that Debezium would write, or refused with a problem."""

import io
import json

import fastavro
import pytest

from ...support.api_service import ALERT, FAMILY, FORECAST

BULK = "/v1/forecasts/bulk"
FORECASTS = "smart_warehouse.forecast.benefit_forecasts"
DEBEZIUM_KEY = json.dumps(
    {
        "type": "record",
        "name": "Key",
        "doc": "another text",
        "fields": [{"name": "forecast_id", "type": "int"}],
    }
)
ALERTS = "smart_warehouse.alerts.ml_alert_outbox"
INVALID_FORECASTS = [
    ({"forecast_id": "4711"}, "/body/forecast_id"),
    ({"forecast_id": True}, "/body/forecast_id"),
    ({"forecast_id": 2**31}, "/body/forecast_id"),
    ({"family_id": "urn:uuid:" + FAMILY}, "/body/family_id"),
    ({"horizon_months": 0}, "/body/horizon_months"),
    ({"total_annual_value": -1}, "/body/total_annual_value"),
    ({"total_annual_value": 1e14}, "/body/total_annual_value"),
    ({"scheme_count": None}, "/body/scheme_count"),
    ({"projections": {}}, "/body/projections"),
    ({"projections": [1]}, "/body/projections/0"),
    ({"projections": [{"a": "\0"}]}, "/body/projections/0"),
    ({"projections": [{"a": "\ud800"}]}, "/body/projections/0"),
    ({"projections": [json.loads('{"a":' * 40 + "1" + "}" * 40)]}, "/body/projections/0"),
    ({"generated_at": "2026-01-31T04:30:00"}, "/body/generated_at"),
    ({"generated_at": "2026-02-30T04:30:00Z"}, "/body/generated_at"),
    ({"generated_at": "0001-01-01T00:00:00+05:30"}, "/body/generated_at"),
    ({"generated_at": "2999-01-01T00:00:00Z"}, "/body/generated_at"),
    ({"status": "IN_PROGRESS"}, "/body/status"),
    ({"status": "FAILED"}, "/body/status"),
    ({"ifsc_code": "x"}, "/body/*"),
]
INVALID_ALERTS = [
    ({"severity": "high"}, "/body/severity"),
    ({"message": ""}, "/body/message"),
    ({"message": "\0"}, "/body/message"),
    ({"alert_type": "A" * 51}, "/body/alert_type"),
    ({"action_url": "javascript:alert(1)"}, "/body/action_url"),
    ({"action_url": "//elsewhere.example/"}, "/body/action_url"),
]


def read_records(service):
    """Yield topic, key and value of each record, decoded by the schema ids in the bytes."""
    schemas = {
        number: text for versions in service.registry.subjects.values() for number, text in versions
    }
    for topic, key, value in service.publisher.records:
        decoded = []
        for raw in (key, value):
            assert raw[0] == 0
            schema = fastavro.parse_schema(json.loads(schemas[int.from_bytes(raw[1:5], "big")]))
            decoded.append(fastavro.schemaless_reader(io.BytesIO(raw[5:]), schema, None))
        yield topic, *decoded


def problem(response, status, kind):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["status"]) == (f"urn:sink-runner:problem:{kind}", status)
    return body


def test_forecast_is_published_as_created_row(service):
    response = service.post(body=FORECAST | {"status": "COMPLETED"})
    assert (response.status_code, response.json()) == (
        202,
        {"topic": FORECASTS, "partition": 0, "offset": 0},
    )
    ((topic, key, value),) = read_records(service)
    assert (topic, key) == (FORECASTS, {"forecast_id": 4711})
    assert (value["op"], value["before"]) == ("c", None)
    assert value["after"] == {
        "forecast_id": 4711,
        "family_id": FAMILY,
        "horizon_months": 12,
        "total_annual_value": "36000.50",
        "scheme_count": 2,
        "projections": '[{"scheme_code":"OLD_AGE_PENSION","benefit_amount":12000}]',
        "generated_at": "2026-01-31T04:30:00Z",
        "updated_at": None,
    }
    source = value["source"]
    assert (source["db"], source["schema"], source["table"]) == tuple(FORECASTS.split("."))
    assert source["lsn"] is None
    assert value["ts_ms"] == source["ts_ms"] > 1_700_000_000_000


def test_alert_id_is_lower_case_as_in_postgresql(service):
    assert service.post("/v1/alerts", ALERT).status_code == 202
    ((topic, key, value),) = read_records(service)
    assert (topic, key) == (ALERTS, {"alert_id": ALERT["alert_id"].lower()})
    assert value["after"]["message"] == ALERT["message"]
    assert value["after"]["action_url"] is None


def test_bulk_items_are_published_in_order(service):
    items = [FORECAST | {"forecast_id": number} for number in (3, 1, 2)]
    response = service.post(BULK, {"items": items})
    assert response.status_code == 202
    assert [record["offset"] for record in response.json()["accepted"]] == [0, 1, 2]
    assert [key["forecast_id"] for _, key, _ in read_records(service)] == [3, 1, 2]


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/forecasts", FORECAST), (BULK, {"items": [FORECAST, FORECAST]})],
    ids=["single", "bulk"],
)
def test_events_continue_trace_of_request(service, path, body):
    assert service.post(path, body, traceparent=TRACEPARENT).status_code == 202
    sent = service.publisher.headers
    assert sent == [[("traceparent", TRACEPARENT.encode())]] * len(body.get("items", [1]))


@pytest.mark.parametrize("text", ["", "9876543210", TRACEPARENT.replace("4bf9", "xxxx")])
def test_invalid_trace_of_request_is_ignored(service, text):
    assert service.post(body=FORECAST, traceparent=text).status_code == 202
    assert service.publisher.headers == [[]]


def test_amounts_are_rounded_half_up(service):
    service.post(body=FORECAST | {"total_annual_value": 0.125})
    assert next(read_records(service))[2]["after"]["total_annual_value"] == "0.13"


@pytest.mark.parametrize(("change", "pointer"), INVALID_FORECASTS, ids=lambda part: str(part)[:40])
def test_error_points_to_invalid_field_of_forecast(service, change, pointer):
    body = json.dumps(FORECAST | change)
    response = service.client.post(
        "/v1/forecasts",
        content=body,
        headers={"X-API-Key": service.keys["all"], "Content-Type": "application/json"},
    )
    errors = problem(response, 422, "invalid")["errors"]
    assert {error["pointer"].removesuffix("/int").removesuffix("/float") for error in errors} == {
        pointer
    }
    assert service.publisher.records == []


@pytest.mark.parametrize("missing", FORECAST)
def test_every_column_of_forecast_is_required(service, missing):
    body = {name: value for name, value in FORECAST.items() if name != missing}
    (error,) = problem(service.post(body=body), 422, "invalid")["errors"]
    assert error["pointer"] == f"/body/{missing}"


@pytest.mark.parametrize(("change", "pointer"), INVALID_ALERTS)
def test_error_points_to_invalid_field_of_alert(service, change, pointer):
    body = problem(service.post("/v1/alerts", ALERT | change), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == [pointer]


def test_one_invalid_item_refuses_whole_request(service):
    items = [FORECAST, FORECAST | {"status": "FAILED"}, FORECAST | {"generated_at": "2999"}]
    body = problem(service.post(BULK, {"items": items}), 422, "invalid")
    pointers = [error["pointer"] for error in body["errors"]]
    assert pointers == ["/body/items/1/status", "/body/items/2/generated_at"]
    late = [FORECAST, FORECAST | {"generated_at": "2999-01-01T00:00:00Z"}]
    body = problem(service.post(BULK, {"items": late}), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["/body/items/1/generated_at"]
    assert service.publisher.records == []


def test_errors_never_repeat_the_request(service):
    """An error contains neither a value nor the name of an unknown field."""
    canary = "98765432101"
    body = dict.fromkeys(FORECAST, canary) | {canary: canary, "status": canary}
    body["projections"] = [canary]
    for response in (
        service.post(body=body),
        service.post(BULK, {"items": [body]}),
        service.get(f"/v1/profiles/{canary}"),
        service.post(body=FORECAST, Idempotency_Key=canary * 30),
        service.client.post(
            "/v1/forecasts",
            content=canary + "{",
            headers={"X-API-Key": service.keys["all"], "Content-Type": "application/json"},
        ),
    ):
        assert response.status_code == 422
        assert canary not in response.text


@pytest.mark.parametrize("body", ["{", "", "[" * 5000, '{"a": NaN}', "1" * 6000])
def test_invalid_json_is_refused(service, body):
    headers = {"X-API-Key": service.keys["all"], "Content-Type": "application/json"}
    response = service.client.post("/v1/forecasts", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_too_many_items_are_refused(service):
    body = problem(service.post(BULK, {"items": [FORECAST] * 4}), 422, "invalid")
    assert body["errors"][0]["pointer"] == "/body/items"


def test_too_large_body_is_refused_by_its_length(service):
    problem(service.post(body={"padding": "x" * 20_000}), 413, "too-large")


def test_too_large_body_without_length_is_refused(service):
    async def chunks():
        for _ in range(100):
            yield b"x" * 1000

    response = service.client.post(
        "/v1/forecasts", content=chunks(), headers={"X-API-Key": service.keys["all"]}
    )
    problem(response, 413, "too-large")


def test_too_large_event_publishes_nothing(service):
    """Numbers are longer in the event than in the request: 1E15 takes 18 characters."""
    long = FORECAST | {"projections": [{"a": [1e15] * 1000}]}
    text = json.dumps({"items": [FORECAST, long]}).replace("1000000000000000.0", "1E15")
    headers = {"X-API-Key": service.keys["all"], "Content-Type": "application/json"}
    problem(service.client.post(BULK, content=text, headers=headers), 413, "too-large")
    assert service.publisher.records == []


def test_kafka_outage_answers_with_retry_after(service):
    service.publisher.fails_from = 0
    response = service.post()
    assert problem(response, 503, "unavailable")["published"] == []
    assert int(response.headers["retry-after"]) >= 1


def test_partial_bulk_answer_lists_accepted_items(service):
    service.publisher.fails_from = 2
    response = service.post(BULK, {"items": [FORECAST] * 3})
    assert problem(response, 503, "unavailable")["published"] == [0, 1]


def test_schema_refused_by_registry_publishes_nothing(service):
    service.registry.requires_login = True
    problem(service.post(), 503, "unavailable")
    assert service.publisher.records == []


def test_unavailable_registry_publishes_nothing(service):
    service.registry.close()
    problem(service.post(), 503, "unavailable")
    assert service.publisher.records == []


def test_key_uses_newest_schema_of_any_producer(service):
    """The schema's id is in the key's bytes, which decide the partition."""
    number = service.registry.add(f"{FORECASTS}-key", DEBEZIUM_KEY)
    service.post()
    assert key_id(service) == number


def test_subject_registered_concurrently_is_found(service):
    """Apicurio refuses the second registration; the service then uses the first one's schema."""
    service.registry.concurrent_schemas = {
        f"{FORECASTS}-key": DEBEZIUM_KEY,
        f"{FORECASTS}-value": json.dumps("string"),
    }
    assert service.post().status_code == 202
    (number, text), *more = service.registry.subjects[f"{FORECASTS}-key"]
    assert (key_id(service), text, more) == (number, DEBEZIUM_KEY, [])


def key_id(service):
    return int.from_bytes(service.publisher.records[0][1][1:5], "big")


def test_text_of_unexpected_error_is_not_sent(service, monkeypatch):
    def fail(*_):
        raise RuntimeError("row 98765432101")

    monkeypatch.setattr(service.publisher, "publish", fail)
    response = service.post()
    problem(response, 500, "internal")
    assert "98765432101" not in response.text
