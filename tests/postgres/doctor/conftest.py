"""A deployment on two cloned databases, with a registry that answers and stubs for the brokers."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sink_runner.config import Config, Policies, Registry
from sink_runner.doctor import service_checks
from sink_runner.doctor.deployment import Deployment
from sink_runner.doctor.examination import Examined, examine
from sink_runner.doctor.groups import groups
from sink_runner.kafka.topic_checks import TopicFacts
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.model.findings import Finding
from sink_runner.preflight import checklist

from ..preflight.conftest import (  # noqa: F401 - fixtures
    POLICIES,
    MappedTables,
    table_databases,
    tables,
)


class FakeRegistry:
    """A schema registry on loopback; `status` is that of every response."""

    def __init__(self) -> None:
        self.status = 200
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_list = self.path == "/subjects"
                status = registry.status if is_list or registry.status != 200 else 404
                body = json.dumps([] if is_list else {"error_code": 40401}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Site:
    """A deployment of one mapping; a test breaks a part of it."""

    tables: MappedTables
    registry: FakeRegistry
    policies: Path
    topic: TopicFacts | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    """Sections of the configuration that a test replaces."""
    plugins: dict[str, Plugin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.topic = TopicFacts("t", 1, {"cleanup.policy": "delete", "retention.ms": "-1"})

    @property
    def config(self) -> Config:
        sections = {
            "registry": Registry(url=self.registry.url),
            "policies": Policies(directory=self.policies),
        }
        return replace(self.tables.config, **sections, **self.changes)

    @property
    def deployment(self) -> Deployment:
        mapping = self.tables.mapping
        plugin = Plugin(name="bench", entry_points=(), status=Status.ON, mapping=mapping)
        plugins = {"bench": plugin, **self.plugins}
        return Deployment(config=self.config, plugins=plugins, mappings={"bench": mapping})

    def examine(self, *names: str) -> list[Examined]:
        """Make the checks of the groups with these names; without one, of all."""
        chosen = [one for one in groups(self.deployment) if not names or one.name in names]
        return examine(chosen, 20, lambda _name: None)

    def findings(self, *names: str) -> list[Finding]:
        return [finding for one in self.examine(*names) for finding in one.findings]


def copy_policies(folder: Path, schema: str) -> Path:
    """Copy the policies, with the text column of the tables classified as not personal."""
    shutil.copytree(POLICIES, folder)
    file = folder / "classification.json"
    content = json.loads(file.read_text())
    for database in ("north", "south"):
        content["not_personal"][f"{database}.{schema}.t"] = {"v": "made up"}
    file.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def registry() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.fixture
def deployed(tables, registry, monkeypatch, tmp_path) -> Site:  # noqa: F811 - the fixture
    """A deployment without a fault, once `tables.create()` was called."""
    made = Site(tables, registry, copy_policies(tmp_path / "policies", tables.schema))
    registry.status = 200
    monkeypatch.setattr(service_checks, "check_access", lambda _connection: None)
    monkeypatch.setattr(checklist, "read_topic", lambda _connection, _name: made.topic)
    return made
