"""The benchmark's own stack: a home beside the project's, with the recorded topic kept in it."""

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

_FOREVER = 36_500  # days
_SCHEMA = "SELECT to_regnamespace('bench') IS NOT NULL"
_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
_MARKER = "recorded"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A running stack with the tables of the benchmark."""

    stack: Stack
    reporter: Reporter

    @property
    def folder(self) -> Path:
        return self.stack.layout.home

    @property
    def env(self) -> dict[str, str]:
        """What a program that uses the stack needs to know."""
        return self.stack.environment()

    def admin(self, database: str) -> Connection:
        """An administrator's session; each statement is a transaction of its own."""
        return psycopg.connect(self.stack.settings.admin_dsn(database), autocommit=True)

    def mark_recorded(self, events: int) -> None:
        (self.folder / _MARKER).write_text(f"{events} {_way()}", encoding="ascii")

    def stop_capture(self) -> None:
        """End both Debezium Servers: while a recorded topic is read, they only take CPU.

        Where they stood is forgotten, so that no slot holds the log of what is measured.
        """
        self.stack.supervisor.stop(*DATABASES)
        with self.admin(SOURCE) as connection:
            connection.execute(_DROP_SLOTS)
        for name in DATABASES:
            (self.folder / name / "offsets.dat").unlink(missing_ok=True)

    def rest(self) -> None:
        """Write out what the last pass left in memory, so that the next need not."""
        with self.admin(TARGET) as connection:
            connection.execute("CHECKPOINT")


@contextmanager
def opened() -> Iterator[Home]:
    """Bring the stack up, and down again; the databases and the topic stay."""
    stack, reporter = _stack()
    home = Home(stack=stack, reporter=reporter)
    try:
        stack.up(_options(again=recorded() > 0))
        yield home
    finally:
        if stack.supervisor.running("postgres"):
            home.stop_capture()
        stack.down()


def recorded() -> int:
    """How many changes the home has recorded; 0 if none, not to the end, or in another way."""
    marker = _stack()[0].layout.home / _MARKER
    if not marker.exists():
        return 0
    events, way = marker.read_text(encoding="ascii").split()
    return int(events) if way == _way() else 0


def _way() -> str:
    """Changes with whatever decides what a recording holds, or what its databases are."""
    found = layout.find(os.environ)
    settings = (found.debezium / "common.properties").read_bytes()
    schemas = schema_digest(found.sql) + schema_digest(HERE / "sql")
    return hashlib.sha256(settings + schemas.encode()).hexdigest()


def discard() -> None:
    """Delete the home with all that was recorded."""
    stack, _ = _stack()
    if stack.layout.settings.exists():
        stack.clean()


def script(name: str) -> str:
    return (HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _stack() -> tuple[Stack, Reporter]:
    found = layout.find(os.environ)
    home = dataclasses.replace(found, home=found.root / ".stack-bench")
    environ = {key: text for key, text in os.environ.items() if not key.startswith("SINK_STACK_")}
    reporter = Reporter()
    return Stack(home, environ, reporter), reporter


def _options(*, again: bool) -> Options:
    """Debezium leaves a table alone whose changes are recorded: it would begin with a snapshot."""
    return Options(
        extra_tables={"warehouse": ["bench.live"] if again else ["bench.live", "bench.account"]},
        extra_topics=[
            Topic(name=f"{SOURCE}.bench.{table}", key=["id"], partitions=1, retention_days=_FOREVER)
            for table in TABLES
        ],
        prepare=_create_tables,
    )


def _create_tables(settings: Settings) -> None:
    """Also called where the tables are there already."""
    for database in (SOURCE, TARGET):
        with psycopg.connect(settings.admin_dsn(database)) as connection:
            if connection.execute(_SCHEMA).fetchone() == (True,):
                continue
            for name in ("account", database):
                connection.execute(script(name).encode())
