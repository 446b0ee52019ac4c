"""The API service in this process, with stand-ins for Kafka and the schema registry."""

import contextlib
import dataclasses
import functools
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import sink_citizen_api
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from sink_runner.api.api_keys import hash_key, new_key
from sink_runner.api.app import create_app
from sink_runner.api.ingest import EventIngest
from sink_runner.api.publisher import RecordMetadata
from sink_runner.api.routes import collect_routes
from sink_runner.api.services import Services, assemble
from sink_runner.config import load
from sink_runner.masking.policy import load_policies

ROOT = Path(__file__).parents[2]
SECRET = "a secret for these tests, 32 characters or more"
UNREACHABLE_DSN = "postgresql://127.0.0.1:1/unreachable?connect_timeout=1"
FAMILY = "6f1c1e2a-6d0b-4f57-9a55-0d6c1c1f0a11"
FORECAST = {
    "forecast_id": 4711,
    "family_id": FAMILY,
    "horizon_months": 12,
    "total_annual_value": 36000.5,
    "scheme_count": 2,
    "projections": [{"scheme_code": "OLD_AGE_PENSION", "benefit_amount": 12000}],
    "generated_at": "2026-01-31T10:00:00+05:30",
}
ALERT = {
    "alert_id": "0B7C9D54-4A58-4d0e-8a39-8f3f1f0d2c55",
    "family_id": FAMILY,
    "alert_type": "BENEFIT_EXPIRING",
    "severity": "HIGH",
    "message": "पेंशन अगले महीने समाप्त होगी",
    "created_at": "2026-01-31T04:30:00Z",
}

APIS = (sink_citizen_api.sink_api(),)
LIMITS = "max_body_bytes = 20000\nmax_record_bytes = 15000\nmax_items = 3"
CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "{registry}"
[databases.smart_warehouse]
dsn = "{dsn}"
reader_dsn = "{reader_dsn}"
[dead_letters]
key = "unused"
key_id = "unused"
[policies]
directory = "{policies}"
[api]
database = "smart_warehouse"
secret = "{secret}"
{limits}
query_seconds = {seconds}
delivery_seconds = 1
schema_seconds = 0
"""


class Registry:
    """A schema registry on loopback with the two endpoints that a producer calls."""

    def __init__(self) -> None:
        self.subjects: dict[str, list[tuple[int, str]]] = {}
        self.concurrent_schemas: dict[str, str] = {}
        """By subject: a schema that another client registers during the service's first request."""
        self.requires_login = False
        self._ids: dict[str, int] = {}
        self._next_ids = itertools.count(1)
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                schemas = registry.subjects.get(self.path.split("/")[2])
                if registry.requires_login:
                    self.respond(401, {})
                elif schemas:
                    self.respond(200, {"id": schemas[-1][0], "schema": schemas[-1][1]})
                else:
                    self.respond(404, {"error_code": 40401})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                subject = self.path.split("/")[2]
                other = registry.concurrent_schemas.pop(subject, None)
                if other is None:
                    self.respond(200, {"id": registry.add(subject, body["schema"])})
                else:  # Apicurio's response to the second client that creates the subject
                    registry.add(subject, other)
                    self.respond(409, {"error_code": 409})

            def respond(self, status: int, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, subject: str, schema: str) -> int:
        """Register a schema; equal texts share one id across subjects, as in Apicurio."""
        schema_id = self._ids.setdefault(schema, 0) or next(self._next_ids)
        self._ids[schema] = schema_id
        self.subjects.setdefault(subject, []).append((schema_id, schema))
        return schema_id

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class InMemoryPublisher:
    """Keeps published records in memory; fails every record from index `fails_from` on."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []
        self.headers: list[list[tuple[str, bytes]]] = []
        self.fails_from: int | None = None

    def publish(self, topic, records, headers=()):
        published = []
        for index, (key, value) in enumerate(records):
            if self.fails_from is not None and index >= self.fails_from:
                published.append(None)
                continue
            self.records.append((topic, key, value))
            self.headers.append(list(headers))
            published.append(RecordMetadata(0, len(self.records) - 1))
        return published

    def answers(self) -> bool:
        return self.fails_from is None

    def close(self) -> None:
        pass


class Client:
    """A synchronous HTTP client that calls the service through ASGI."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://service")
        self._portal = portal

    def request(self, method: str, path: str, **options) -> httpx.Response:
        call = functools.partial(self._client.request, method, path, **options)
        return self._portal.call(call)

    def get(self, path: str, **options) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options) -> httpx.Response:
        return self.request("POST", path, **options)


@dataclasses.dataclass
class Service:
    """A started service with its client, its stand-ins and its API keys."""

    app: FastAPI
    services: Services
    client: Client
    publisher: InMemoryPublisher
    registry: Registry
    keys: dict[str, str]

    def post(self, path="/v1/forecasts", body=None, *, key="all", **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["X-API-Key"] = self.keys.get(key, key)
        return self.client.post(path, json=FORECAST if body is None else body, headers=sent)

    def get(self, path, *, key="all"):
        return self.client.get(path, headers={"X-API-Key": self.keys[key]})


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    yield server
    server.close()


@pytest.fixture
def serve(tmp_path, registry):
    """Start services whose clients are `all` (every scope), `none` and `groupless` (no group)."""
    with contextlib.ExitStack() as stack:

        def start(
            extra_config="",
            *,
            dsn=UNREACHABLE_DSN,
            reader_dsn=UNREACHABLE_DSN,
            policies=ROOT / "ranger-policies",
            limits=LIMITS,
            seconds=0.5,
            apis=APIS,
        ):
            keys = {name: new_key() for name in ("all", "none", "groupless")}
            text = CONFIG.format(
                registry=registry.url,
                dsn=dsn,
                reader_dsn=reader_dsn,
                secret=SECRET,
                policies=policies,
                limits=limits,
                seconds=seconds,
            )
            scopes = json.dumps([route.scope for api in apis for route in api.routes])
            for name, granted, group in (
                ("all", scopes, "smart_citizen"),
                ("none", "[]", "smart_citizen"),
                ("groupless", scopes, ""),
            ):
                text += f'[api.clients.{name}]\nkey_hash = "{hash_key(SECRET, keys[name])}"\n'
                text += f'scopes = {granted}\ngroup = "{group}"\nsubject = "subject-{name}"\n'
            path = tmp_path / "sink-runner.toml"
            path.write_text(text + extra_config)
            config = load(path, {}).config()
            policies = functools.partial(load_policies, config.policies.directory)
            routes = collect_routes(apis, config.api)
            publisher = InMemoryPublisher()
            services = assemble(config, routes, policies)
            services = dataclasses.replace(
                services,
                publisher=publisher,
                ingest=EventIngest(services.api, services.subjects, publisher),
                parts={**services.parts, "kafka": publisher.answers},
            )
            app = create_app(services)
            portal = stack.enter_context(start_blocking_portal())
            lifespan = portal.wrap_async_context_manager(app.router.lifespan_context(app))
            stack.enter_context(lifespan)
            return Service(app, services, Client(app, portal), publisher, registry, keys)

        yield start


@pytest.fixture
def service(serve) -> Service:
    return serve()
