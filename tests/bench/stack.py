"""The benchmark's own stack, in the folder .stack-bench, where the recorded topic is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from sink_stack import layout
from sink_stack.postgres import schema_digest
from sink_stack.progress import Reporter
from sink_stack.settings import DATABASES, Settings
from sink_stack.stack import Options, Stack
from sink_stack.topics import Topic

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

SOURCE, TARGET = "smart_warehouse", "smart_citizen"
TABLES = ("account", "live")
HERE = Path(__file__).parent

_RETENTION_DAYS = 36_500  # The recorded topic must never expire.
_SCHEMA_EXISTS = "SELECT to_regnamespace('bench') IS NOT NULL"
_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
_MARKER = "recorded"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BenchStack:
    """A running stack that has the benchmark's tables."""

    stack: Stack
    reporter: Reporter

    @property
    def folder(self) -> Path:
        return self.stack.layout.home

    @property
    def env(self) -> dict[str, str]:
        """Return the environment variables of a program that uses the stack."""
        return self.stack.environment()

    def connect_admin(self, database: str) -> Connection:
        """Return an administrator's session in autocommit mode."""
        return psycopg.connect(self.stack.settings.admin_dsn(database), autocommit=True)

    def mark_recorded(self, events: int) -> None:
        (self.folder / _MARKER).write_text(f"{events} {_fingerprint()}", encoding="ascii")

    def stop_capture(self) -> None:
        """Stop both Debezium Servers, which would only take CPU from the measured sinks.

        Their replication slots and offsets are deleted, so that no slot retains the WAL that the
        measured sinks write.
        """
        self.stack.supervisor.stop(*DATABASES)
        with self.connect_admin(SOURCE) as connection:
            connection.execute(_DROP_SLOTS)
        for name in DATABASES:
            (self.folder / name / "offsets.dat").unlink(missing_ok=True)

    def checkpoint(self) -> None:
        """Flush the pages that the last pass changed, so that the next pass does not have to."""
        with self.connect_admin(TARGET) as connection:
            connection.execute("CHECKPOINT")


@contextmanager
def open_stack() -> Iterator[BenchStack]:
    """Start the stack and stop it at the end; the databases and the topic stay."""
    stack, reporter = _make_stack()
    bench = BenchStack(stack=stack, reporter=reporter)
    try:
        stack.up(_make_options(has_recording=count_recorded_events() > 0))
        yield bench
    finally:
        if stack.supervisor.running("postgres"):
            bench.stop_capture()
        stack.down()


def count_recorded_events() -> int:
    """Return the number of recorded changes; 0 if the recording is incomplete or outdated."""
    marker = _make_stack()[0].layout.home / _MARKER
    if not marker.exists():
        return 0
    events, fingerprint = marker.read_text(encoding="ascii").split()
    return int(events) if fingerprint == _fingerprint() else 0


def _fingerprint() -> str:
    """Return a digest of the schemas and of the Debezium settings that a recording depends on."""
    project = layout.find(os.environ)
    settings = (project.debezium / "common.properties").read_bytes()
    schemas = schema_digest(project.sql) + schema_digest(HERE / "sql")
    return hashlib.sha256(settings + schemas.encode()).hexdigest()


def delete_stack() -> None:
    """Delete the stack's folder, the recording included."""
    stack, _ = _make_stack()
    if stack.layout.settings.exists():
        stack.clean()


def read_sql(name: str) -> str:
    return (HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _make_stack() -> tuple[Stack, Reporter]:
    project = layout.find(os.environ)
    bench_layout = dataclasses.replace(project, home=project.root / ".stack-bench")
    environ = {key: text for key, text in os.environ.items() if not key.startswith("SINK_STACK_")}
    reporter = Reporter()
    return Stack(bench_layout, environ, reporter), reporter


def _make_options(*, has_recording: bool) -> Options:
    """Exclude bench.account from capture once it is recorded: a snapshot would add events."""
    return Options(
        extra_tables={
            "warehouse": ["bench.live"] if has_recording else ["bench.live", "bench.account"]
        },
        extra_topics=[
            Topic(
                name=f"{SOURCE}.bench.{table}",
                key=["id"],
                partitions=1,
                retention_days=_RETENTION_DAYS,
            )
            for table in TABLES
        ],
        prepare=_create_tables,
    )


def _create_tables(settings: Settings) -> None:
    """Create the tables that do not exist yet; the stack calls this at every start."""
    for database in (SOURCE, TARGET):
        with psycopg.connect(settings.admin_dsn(database)) as connection:
            if connection.execute(_SCHEMA_EXISTS).fetchone() == (True,):
                continue
            for name in ("account", database):
                connection.execute(read_sql(name).encode())
