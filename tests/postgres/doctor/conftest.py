"""A deployment on two cloned databases, with a registry that answers and stubs for the brokers."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus, PGconn

from sink_runner.config import Config, Policies, Registry
from sink_runner.config.dsn import Dsn
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

TOPIC = TopicFacts("t", 1, {"cleanup.policy": "delete", "retention.ms": "-1"})


class FakeRegistry:
    """A schema registry on loopback; a `status` other than 200 is that of every response."""

    def __init__(self) -> None:
        self.status = 200
        self.schemas: dict[str, Any] = {}
        """The latest schema of each subject."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content = registry.answer(self.path)
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {}
        if path == "/subjects":
            return 200, [*self.schemas]
        schema = self.schemas.get(path.split("/")[2])
        if schema is None:
            return 404, {"error_code": 40401}
        return 200, {"id": 7, "schema": json.dumps(schema)}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Site:
    """A deployment of one mapping; a test breaks a part of it."""

    tables: MappedTables
    registry: FakeRegistry
    policies: Path
    patch: pytest.MonkeyPatch
    undo: ExitStack
    """Undoes the changes of a test in the databases, which other tests use after it."""
    topic: TopicFacts | None = TOPIC
    changes: dict[str, Any] = field(default_factory=dict)
    """Sections of the configuration that a test replaces."""
    plugins: dict[str, Plugin] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        sections = {
            "registry": Registry(url=self.registry.url),
            "policies": Policies(directory=self.policies),
        }
        return replace(self.tables.config, **{**sections, **self.changes})

    def run(self, side: str, ddl: str, undo: str = "") -> None:
        """Run SQL in the source's or the target's database."""
        admin = getattr(self.tables, side)
        self.tables.run(admin, ddl.replace("{database}", admin.info.dbname))
        if undo:
            self.undo.callback(self.run, side, undo)

    def connect_differently(self, database: str, key: str, **parts: Any) -> None:
        """Change parts of a connection string."""
        config = self.config
        found = config.databases[database]
        changed = Dsn.of(make_conninfo(getattr(found, key).read(), **parts))
        object.__setattr__(found, key, changed)
        self.changes["databases"] = config.databases

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


class Capture:
    """A replication slot of the source, and a session that streams from it as Debezium does."""

    SLOT = "sink_doctor"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.stream: PGconn | None = None

    def create(self) -> None:
        self.admin.execute(
            "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (self.SLOT,)
        )

    def start(self) -> None:
        conninfo = make_conninfo(
            self.dsn, replication="database", options="-c wal_sender_timeout=0"
        )
        self.stream = PGconn.connect(conninfo.encode())
        started = self.stream.exec_(
            f"START_REPLICATION SLOT {self.SLOT} LOGICAL 0/0 "
            "(proto_version '1', publication_names 'sink_publication')".encode()
        )
        assert started.status == ExecStatus.COPY_BOTH, started.error_message

    def stop(self) -> None:
        """End the session, and wait until the server has noticed."""
        if self.stream is not None:
            self.stream.finish()
            self.stream = None
        while self.admin.execute(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active", (self.SLOT,)
        ).fetchone():
            pass

    def drop(self) -> None:
        self.stop()
        self.admin.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = %s",
            (self.SLOT,),
        )


@pytest.fixture(scope="module")
def capture(postgres, table_databases) -> Iterator[Capture]:  # noqa: F811 - the fixture
    """Capture of the source's database, whose server bounds what a slot retains."""
    made = Capture(postgres.dsn(table_databases[0]))
    made.admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '2GB'")
    made.admin.execute("SELECT pg_reload_conf()")
    made.create()
    made.start()
    yield made
    made.drop()
    made.admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
    made.admin.execute("SELECT pg_reload_conf()")
    made.admin.close()


@pytest.fixture
def deployed(tables, registry, capture, monkeypatch, tmp_path) -> Iterator[Site]:  # noqa: F811
    """A deployment without a fault, once `tables.create()` was called."""
    policies = copy_policies(tmp_path / "policies", tables.schema)
    with ExitStack() as undo:
        made = Site(tables, registry, policies, monkeypatch, undo)
        registry.status, registry.schemas = 200, {}
        monkeypatch.setattr(service_checks, "check_access", lambda _connection: None)
        monkeypatch.setattr(service_checks, "read_brokers", lambda _connection: [])
        monkeypatch.setattr(service_checks, "read_filled", lambda _connection, _topics: [])
        monkeypatch.setattr(checklist, "read_topic", lambda _connection, _name: made.topic)
        yield made
