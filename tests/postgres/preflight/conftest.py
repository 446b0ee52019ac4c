"""A mapping between tables of two real databases, for the checks before it starts."""

import base64
import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.config import Config, Database, DeadLetters, Kafka, Policies, Registry, Schema
from sink_runner.config.dsn import Dsn
from sink_runner.errors import ConfigError
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.masking.policy import load_policies
from sink_runner.model.partition import Topic
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.preflight.checklist import Preflight, check_mapping
from sink_runner.runtime.builder import RuntimeContext, build_worker
from sink_runner.schema_check.checker import Sources, check_start
from sink_runner.schema_check.schema_findings import Finding

POLICIES = Path(__file__).parents[3] / "ranger-policies"
KEY = base64.b64encode(bytes(32)).decode()
TABLE = "(id int PRIMARY KEY, v text)"
_NUMBERS = itertools.count()


class _ChecksPassedError(Exception):
    """Raised in place of the worker: every check of the databases has passed."""


def _topic(_connection: Any, name: str) -> Topic:
    return Topic("cluster", name, "topic")


def _raise_checks_passed(*_arguments: Any, **_options: Any) -> None:
    raise _ChecksPassedError


class MappedTables:
    """A mapping from table t of the source to table t of the target, both in schema `schema`."""

    def __init__(self, postgres: Any, databases: tuple[str, str]) -> None:
        self.postgres, self.databases = postgres, databases
        self.schema = f"mapped_{next(_NUMBERS)}"
        self.plugins: list[Plugin] = []
        self.source, self.target = (
            psycopg.connect(postgres.dsn(name), autocommit=True) for name in databases
        )
        for admin in (self.source, self.target):
            admin.execute(f"CREATE SCHEMA {self.schema}".encode())
            self.run(admin, "GRANT USAGE ON SCHEMA {s} TO sink_writer, sink_reader, sink_capture")
        self.mapping = TableMapping(
            source=f"north.{self.schema}.t",
            target=f"south.{self.schema}.t",
            key=("id",),
            conflict=source_wins(),
            columns=(Column("id"), Column("v")),
        )

    def run(self, admin: psycopg.Connection, ddl: str) -> None:
        for statement in filter(str.strip, ddl.replace("{s}", self.schema).split(";")):
            admin.execute(statement.encode())

    def create(self, source: str = "", target: str = "", *, publish: bool = True) -> None:
        """Run the DDL of each side, and create `t` with columns id and v where it does not."""
        for admin, ddl in ((self.source, source), (self.target, target)):
            if "{s}.t " not in ddl:
                self.run(admin, f"CREATE TABLE {{s}}.t {TABLE}")
            self.run(admin, ddl)
        self.run(
            self.source, "GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO sink_reader, sink_capture"
        )
        self.run(
            self.target,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {s} TO sink_writer",
        )
        if publish:
            self.run(self.source, "ALTER PUBLICATION sink_publication ADD TABLE {s}.t")

    @property
    def config(self) -> Config:
        databases = {
            name: Database(
                dsn=Dsn.of(self.postgres.dsn(actual, "sink_writer")),
                reader_dsn=Dsn.of(self.postgres.dsn(actual, "sink_reader")),
            )
            for name, actual in zip(("north", "south"), self.databases, strict=True)
        }
        return Config(
            kafka=Kafka(bootstrap="127.0.0.1:1"),
            registry=Registry(url="http://127.0.0.1:1"),
            databases=databases,
            dead_letters=DeadLetters(key=KEY, key_id="test"),
            policies=Policies(directory=POLICIES),
            schema=Schema(strict=False),
        )

    def preflight(self) -> Preflight:
        return check_mapping("bench", self.mapping, self.config)

    def refusals(self) -> list[str]:
        """Return the findings that prevent a start."""
        return [finding.text for finding in self.preflight().findings if finding.refused]

    def warnings(self) -> list[str]:
        return [finding.text for finding in self.preflight().findings if not finding.refused]

    def start(self) -> str:
        """Return the error with which `run` refuses the mapping; "" if every check passes."""
        policies = load_policies(POLICIES, "")
        plugin = Plugin(name="bench", entry_points=(), status=Status.ON, mapping=self.mapping)
        context = RuntimeContext(
            config=self.config,
            policies=lambda: policies,
            schemas=SchemaCache(Registry(url="http://127.0.0.1:1")),
            plugins=self.plugins or [plugin],
            stop=threading.Event(),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sink_runner.runtime.builder.check_topic", lambda *_: [])
            patch.setattr("sink_runner.runtime.builder.identify", _topic)
            patch.setattr("sink_runner.runtime.builder.Worker", _raise_checks_passed)
            try:
                build_worker(plugin, context)
            except ConfigError as error:
                return str(error)
            except _ChecksPassedError:
                return ""
        raise AssertionError

    def schema_check(
        self, other_mappings: Mapping[str, TableMapping] | None = None
    ) -> list[Finding]:
        policies = load_policies(POLICIES, "")
        return check_start(
            "bench",
            self.mapping,
            Sources(policies=policies, strict=False, config=self.config),
            other_mappings,
        )

    def close(self) -> None:
        for admin in (self.source, self.target):
            admin.close()


@pytest.fixture(scope="session")
def table_databases(postgres) -> tuple[str, str]:
    return postgres.fresh_database("smart_warehouse", migrated=False), postgres.fresh_database(
        "smart_citizen", migrated=False
    )


@pytest.fixture
def tables(postgres, table_databases: tuple[str, str]) -> Iterator[MappedTables]:
    created = MappedTables(postgres, table_databases)
    yield created
    created.run(created.source, "DROP SCHEMA {s} CASCADE")
    created.close()
