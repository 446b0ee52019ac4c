"""Requests that are passed to another service, whose result comes later as a callback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from sink_runner.api.masked_query import MaskedQuery
from sink_runner.api.problems import ProblemError
from sink_runner.api.routes import collect_routes
from sink_runner.api.service_client import ServiceClient
from sink_runner.config.api import Service
from sink_runner.errors import ConfigError
from sink_runner.plugin import HttpApi, ServiceRoute

from ...support.api_service import FAMILY
from .test_callbacks import problem
from .test_graphql import post
from .test_plugin_routes import query_route, settings

PATH = f"/v1/families/{FAMILY}/forecast"
MUTATION = f'mutation {{ family_forecast_request(family_id: "{FAMILY}") {{ status path }} }}'


@pytest.fixture
def forecasts():
    """A service that answers `status` and keeps what it was sent."""
    found = SimpleNamespace(status=202, requests=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((json.loads(body), self.headers.get("Authorization")))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}/requests"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve_with(serve, forecasts, monkeypatch):
    """Start the service with `rows` as what the database has of the family."""

    def start(rows=(), more=""):
        monkeypatch.setattr(MaskedQuery, "rows", lambda *_: list(rows))
        return serve(f'[api.services.forecasts]\nurl = "{forecasts.url}"\n{more}')

    return start


def test_request_reaches_the_service(serve_with, forecasts, tmp_path):
    tmp_path.joinpath("token").write_text("abc")
    token = 'token = { file = "token" }\nallow_plaintext_credentials = true'
    service = serve_with(more=token)
    response = service.post(PATH, {})
    assert (response.status_code, response.json()) == (202, {"status": "requested", "path": None})
    assert forecasts.requests == [({"family_id": FAMILY}, "Bearer abc")]


def test_same_request_is_sent_once(serve_with, forecasts):
    service = serve_with()
    assert [service.post(PATH, {}).status_code for _ in range(3)] == [202] * 3
    assert len(forecasts.requests) == 1


def test_result_that_exists_is_not_requested(serve_with, forecasts):
    response = serve_with(rows=[dict.fromkeys(FORECAST_FIELDS)]).post(PATH, {})
    assert (response.status_code, response.json()) == (200, {"status": "exists", "path": PATH})
    assert forecasts.requests == []


FORECAST_FIELDS = (
    *("forecast_id", "family_id", "horizon_months", "total_annual_value", "scheme_count"),
    *("projections", "generated_at"),
)


def test_graphql_mutation_reaches_the_service(serve_with, forecasts):
    service = serve_with()
    body = post(service, MUTATION).json()
    assert body["data"]["family_forecast_request"] == {"status": "requested", "path": None}
    assert len(forecasts.requests) == 1


@pytest.mark.parametrize(
    ("status", "answered", "kind"),
    [(500, 503, "unavailable"), (429, 503, "unavailable"), (400, 502, "refused")],
)
def test_failed_request_can_be_repeated(serve_with, forecasts, status, answered, kind):
    service = serve_with()
    forecasts.status = status
    assert "forecasts" in problem(service.post(PATH, {}), answered, kind)["detail"]
    forecasts.status = 202
    assert service.post(PATH, {}).status_code == 202


def test_redirect_is_not_followed(serve_with, forecasts):
    service = serve_with()
    forecasts.status = 307
    problem(service.post(PATH, {}), 502, "refused")


def test_service_that_is_down_is_named():
    client = ServiceClient("forecasts", Service(url="http://127.0.0.1:1/x"))
    with pytest.raises(ProblemError) as caught:
        client.send({})
    assert caught.value.status == 503


def test_failure_after_repeat_seconds_is_reported(forecasts, monkeypatch):
    """The service answers later than `repeat_seconds`; another request arrived meanwhile."""
    now = [0.0]
    settings = Service(url=forecasts.url, repeat_seconds=60)
    client = ServiceClient("forecasts", settings, clock=lambda: now[0])

    def answer_late(*_: object, **__: object) -> SimpleNamespace:
        now[0] += 61
        client._claim(b"other")
        return SimpleNamespace(status=500)

    monkeypatch.setattr(client._pool, "request", answer_late)
    with pytest.raises(ProblemError) as caught:
        client.send({})
    assert caught.value.status == 503


def test_request_is_repeated_after_repeat_seconds(forecasts):
    now = [0.0]
    settings = Service(url=forecasts.url, repeat_seconds=60)
    client = ServiceClient("forecasts", settings, clock=lambda: now[0])
    for now[0] in (1.0, 60.0, 61.5):
        client.send({})
    assert len(forecasts.requests) == 2


def test_request_needs_the_scope_of_its_route(serve_with):
    problem(serve_with().post(PATH, {}, key="none"), 403, "forbidden")


def test_route_of_unknown_service_is_not_served(service):
    problem(service.post(PATH, {}), 405, "method-not-allowed")
    assert "Mutation" not in service.client.get("/schema.graphql").text


def test_misspelt_service_is_refused():
    route = ServiceRoute(name="ask", path="/ask", service="forecasts", scope="a", summary="")
    services = {"forecast": Service(url="http://127.0.0.1/x")}
    with pytest.raises(ConfigError, match=r"api\.services\.forecast is unknown; did you mean"):
        collect_routes([HttpApi(routes=(route,))], settings(services=services))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url": "forecasts"}, "url: expected http"),
        ({"url": "http://10.0.0.1/x", "token": object()}, "sends credentials without encryption"),
        ({"url": "http://10.0.0.1/x", "ca_file": "x"}, "ca_file needs a url with https"),
    ],
)
def test_unsafe_service_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Service(**changed)


def test_query_of_route_has_its_parameters():
    with pytest.raises(ValueError, match=r"parameters must be those in /items/\{item_id\}"):
        ServiceRoute(name="a", path="/a", service="a", scope="a", summary="", unless=query_route())
