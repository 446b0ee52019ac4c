"""Routes that plugins declare with `sink_api`: served, or refused with the reason."""

import json
import re

import pytest

from sink_runner.api import serve as server
from sink_runner.api.debezium_envelope import encode_value
from sink_runner.api.routes import collect_routes
from sink_runner.config.api import Api, Client
from sink_runner.config.reader import SettingsReader
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.loading.quarantine import may_be_global, select_usable
from sink_runner.plugin import CapturedColumn, EventRoute, HttpApi, PathParameter, QueryRoute
from sink_runner.plugin.field_types import EventModel, Uuid

from ...support.api_service import ROOT
from ..cli.test_api import COMPLETE
from .test_callbacks import problem

ORDER = {
    "order_id": "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55",
    "product": "a lamp",
    "placed_at": "2026-01-31T10:00:00+05:30",
}
API = """
from sink_runner.plugin import HttpApi, QueryRoute, hookimpl

@hookimpl
def sink_api():
    route = QueryRoute(name="tea", path="/tea", model=dict, scope="tea:read", sql="", summary="")
    return HttpApi(routes=(route,))
"""
MASK = "from sink_runner.plugin import hookimpl\n@hookimpl\ndef sink_mask(row): return row\n"


class Item(EventModel):
    """An item."""

    item_id: int


def event_route(**changed):
    declared = {
        "name": "items",
        "model": Item,
        "scope": "items:write",
        "table": "shop.public.items",
        "columns": (CapturedColumn("item_id", "int"),),
    }
    return EventRoute(**declared | changed)


def query_route(**changed):
    declared = {
        "name": "item",
        "path": "/items/{item_id}",
        "model": Item,
        "scope": "items:read",
        "sql": "SELECT 1",
        "parameters": (PathParameter("item_id", Uuid, "The item."),),
        "summary": "An item",
    }
    return QueryRoute(**declared | changed)


def settings(**changed):
    return Api(database="shop", **changed)


def load_plugins(*names):
    plugins = {name: plugin for name, plugin in discovery.installed().items() if name in names}
    discovery.load_selected(plugins, names, {}, SettingsReader())
    return plugins


class TestExampleOfReadme:
    @pytest.fixture
    def shop(self, site):
        text = (ROOT / "sink_runner/api/README.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        site.plugin("shop", code)
        plugins = load_plugins("shop")
        discovery.usable(plugins.values())
        return plugins["shop"].http_api

    def test_bulk_form_and_limits_need_no_code(self, serve, shop):
        service = serve(apis=[shop])
        assert service.post("/v1/orders/bulk", {"items": [ORDER] * 3}).status_code == 202
        problem(service.post("/v1/orders/bulk", {"items": [ORDER] * 4}), 422, "invalid")
        problem(service.post("/v1/orders", ORDER, key="none"), 403, "forbidden")
        problem(service.post("/v1/orders", ORDER, key=None), 401, "unauthorized")
        late = ORDER | {"placed_at": "2999-01-01T00:00:00Z"}
        (error,) = problem(service.post("/v1/orders", late), 422, "invalid")["errors"]
        assert error["pointer"] == "/body/placed_at"

    def test_operations_are_in_the_openapi_document(self, serve, shop):
        document = serve(apis=[shop]).client.get("/openapi.json").json()
        assert [*document["paths"]] == ["/v1/orders", "/v1/orders/bulk", "/v1/orders/{order_id}"]
        assert document["info"]["description"].startswith("Every call needs")

    def test_routes_are_listed(self, shop, site, call, configured):
        configured("shop")
        code, out, _ = call("plugins", "--wide")
        assert code == 0
        (line,) = [line for line in out.splitlines() if line.split()[:1] == ["shop"]]
        assert "HTTP API" in line
        assert line.endswith("POST /v1/orders, POST /v1/orders/bulk, GET /v1/orders/{order_id}")


class TestWithoutRoutes:
    def test_generic_part_is_served(self, serve):
        service = serve(apis=[])
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/docs").status_code == 200
        problem(service.post(), 404, "not-found")
        problem(service.post(key=None), 401, "unauthorized")
        assert service.client.get("/openapi.json").json()["paths"] == {}

    @pytest.mark.parametrize(("option", "missing"), [("--without", True), ("--only", False)])
    def test_missing_routes_are_logged(self, call, configured, monkeypatch, option, missing):
        policies = f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n'
        configured("*", more=COMPLETE + policies)
        monkeypatch.setattr(server._Server, "run", lambda _: None)
        _, out, err = call("api", option, "citizen-api")
        events = [json.loads(line) for line in (out + err).splitlines() if line.startswith("{")]
        assert any(event["event"] == "api_started" for event in events)
        assert any(event["event"] == "api_routes_missing" for event in events) == missing


class TestSettings:
    def test_setting_replaces_table_of_route(self):
        tables = {"items": "shop.public.other"}
        (route,) = collect_routes(
            [HttpApi(routes=(event_route(),))], settings(tables=tables)
        ).events
        assert route.table == "shop.public.other"

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"tables": {"item": "a.b.c"}}, r"api\.tables\.item is unknown; did you mean 'items'"),
            ({"tables": {"items": "a"}}, r"api\.tables\.items: 'a' is not of the form"),
            (
                {"clients": {"a": Client(scopes=("items:wrote",))}},
                r"api\.clients\.a\.scopes\[0\] is unknown; did you mean 'items:write'",
            ),
        ],
    )
    def test_misspelt_setting_is_refused(self, changed, message):
        with pytest.raises(ConfigError, match=message):
            collect_routes([HttpApi(routes=(event_route(),))], settings(**changed))

    def test_settings_of_disabled_plugin_are_ignored(self):
        changed = {"tables": {"items": "a.b.c"}, "clients": {"a": Client(scopes=("items:write",))}}
        assert collect_routes([], settings(**changed)).scopes == ["observe", "operate"]


class TestDeclaration:
    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"table": "items"}, "not of the form"),
            ({"columns": ()}, "first column is the key"),
            ({"columns": (CapturedColumn("a", "int", nullable=True),)}, "first column is the key"),
            ({"columns": (CapturedColumn("a", "integer"),)}, "unknown kind 'integer'"),
        ],
    )
    def test_invalid_event_route_is_refused(self, changed, message):
        with pytest.raises(ValueError, match=message):
            event_route(**changed)

    @pytest.mark.parametrize("path", ["/items", "/items/{id}", "/items/{item_id}/{part}"])
    def test_parameters_must_be_those_of_path(self, path):
        with pytest.raises(ValueError, match="parameters must be those in"):
            query_route(path=path)

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (API.replace("return HttpApi", "return dict"), "sink_api must return an HttpApi"),
            (API.replace("return", "pass #"), "sink_api must return an HttpApi"),
            (API + "@hookimpl\ndef sink_mask(row): return row\n", "cannot have sink_mask"),
            (API + "@hookimpl\ndef sink_startup(ctx): ...\n", "cannot have sink_startup"),
        ],
    )
    def test_error_says_why_plugin_is_invalid(self, site, code, message):
        site.plugin("tea", code)
        assert message in load_plugins("tea")["tea"].errors[0]

    def test_same_operation_of_two_plugins_is_refused(self, site):
        site.plugin("tea", API)
        site.plugin("tee", API)
        for plugin in load_plugins("tea", "tee").values():
            assert plugin.errors == ["GET /v1/tea is declared by tea, tee"]


class TestQuarantine:
    @pytest.mark.parametrize("code", ["import nope_nope\n" + API, API.replace("/tea", "/{tea}")])
    def test_invalid_routes_do_not_disable_mappings(self, site, code):
        site.mapping("apples")
        site.plugin("tea", code)
        selection = select_usable(load_plugins("apples", "tea").values())
        assert [plugin.name for plugin in selection.usable] == ["apples"]
        assert [*selection.quarantined] == ["tea"]

    @pytest.mark.parametrize("code", ["import nope_nope\n" + API + MASK, API + MASK])
    def test_broken_plugin_that_may_mask_is_global(self, site, code):
        site.plugin("tea", code)
        assert may_be_global(load_plugins("tea")["tea"])

    def test_hooks_of_routes_are_not_in_mappings(self, site):
        site.mapping("apples")
        site.plugin("tea", API)
        plugins = load_plugins("apples", "tea")
        manager = discovery.manager_for(plugins["apples"], plugins.values())
        assert [name for name, _ in manager.list_name_plugin()] == ["apples"]


@pytest.mark.parametrize(
    ("value", "scale", "encoded"),
    [
        (0.125, 2, "0.13"),
        (0.135, 2, "0.14"),
        (3, 2, "3.00"),
        (1234.5, None, "1234.5"),
        (2.5, 0, "3"),
    ],
)
def test_decimal_is_rounded_as_by_postgresql(value, scale, encoded):
    assert encode_value(CapturedColumn("v", "decimal", scale=scale), value) == encoded
