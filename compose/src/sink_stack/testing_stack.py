"""The real stack for tests: one for the whole session, in a home of its own, with fresh data.

The fixture is `stack`. A test that needs more tables captured than debezium-config/ lists puts them
into `TrapTables`: Debezium reads its list of tables once, when it starts.
"""

import fcntl
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg import sql

from . import envfile, layout, monitoring, ports
from .layout import Layout
from .progress import Reporter
from .recorder import Recorder
from .settings import Settings
from .stack import Options, Stack
from .topics import Topic

# Parts run for seconds and process little: the second compiler takes more time than it saves.
_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1"
SCHEMA = "trap"
# Scratch tables: each belongs to the tests of one fact about Debezium.
TRAP_TABLES = {
    "defaults": "id INT PRIMARY KEY, note TEXT DEFAULT 'dflt', amount INT DEFAULT 5",
    "toast": "id INT PRIMARY KEY, small INT, large TEXT",
    "toast_full": "id INT PRIMARY KEY, small INT, large TEXT",
    "gone": "id INT PRIMARY KEY, name TEXT NOT NULL, amount INT NOT NULL, extra TEXT",
    "gone_full": "id INT PRIMARY KEY, name TEXT NOT NULL, amount INT NOT NULL, extra TEXT",
    "moving": "id INT PRIMARY KEY, name TEXT",
    "growing": "id INT PRIMARY KEY, name TEXT",
    "origins": "id INT PRIMARY KEY, name TEXT",
    "dropped_in": "id INT PRIMARY KEY, label VARCHAR(200)",
    "emptied": "id INT PRIMARY KEY, name TEXT",
    "reread": "id INT PRIMARY KEY, name TEXT",
    "changing": "id INT PRIMARY KEY, label TEXT NOT NULL, amount BIGINT",
    "Odd Names": """"Order No" INT PRIMARY KEY, "a-b" TEXT, a_b TEXT DEFAULT 'd', "1st" TEXT,
                    a_u002db TEXT, "\u043c\u0435\u0440\u0430" TEXT""",
    "Odd Items": '"Order No" INT PRIMARY KEY, "a-b" VARCHAR(200), a_b VARCHAR(200)',
    "shapes": """id INT NOT NULL, part SMALLINT NOT NULL, large BIGINT, ratio REAL,
                 precise DOUBLE PRECISION, flag BOOLEAN NOT NULL, code UUID, document JSON,
                 binary_document JSONB, day DATE, clock TIME, clock_zoned TIMETZ, at TIMESTAMP(3),
                 zoned TIMESTAMPTZ, span INTERVAL, raw BYTEA, amount NUMERIC(12,2), free NUMERIC,
                 coins MONEY, short VARCHAR(20), padded CHAR(5), long TEXT, markup XML, host INET,
                 tags TEXT[], numbers INT[], codes UUID[], PRIMARY KEY (part, id)""",
    "kinds": """id INT PRIMARY KEY, at TIMESTAMP, zoned TIMESTAMPTZ, day DATE, clock TIME,
                amount NUMERIC(12,2), free NUMERIC, ratio DOUBLE PRECISION, flag BOOLEAN,
                document JSONB, code UUID, raw BYTEA, span INTERVAL, tags TEXT[]""",
}
# The same table in both databases, for two mappings that feed each other.
_BALL = {
    "ball": "id INT PRIMARY KEY, v VARCHAR(200), hops INT NOT NULL, changed_at TIMESTAMP NOT NULL"
}
TRAPS = {"warehouse": TRAP_TABLES | _BALL, "citizen": _BALL}
_FULL_IDENTITY = ("toast_full", "gone_full")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackUnderTest:
    """A running stack and what a test may do to it."""

    stack: Stack
    options: Options

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    @property
    def env(self) -> dict[str, str]:
        """The variables that `sink-stack env` prints."""
        return self.stack.environment()

    @property
    def kafka(self) -> str:
        return self.env["SINK_KAFKA"]

    @property
    def registry(self) -> str:
        return self.env["SINK_REGISTRY"]

    def admin(self, database: str) -> psycopg.Connection:
        """An administrator's session; each statement is a transaction of its own."""
        return psycopg.connect(self.settings.admin_dsn(database), autocommit=True)

    def recorder(self) -> Recorder:
        return Recorder(self.kafka, self.registry)

    def capturing(self, more: Options) -> "StackUnderTest":
        """The same stack, which after `revive` also has the tables and topics of `more`.

        Debezium restarts then, since it reads its list of tables when it starts.
        """

        def prepare(settings: Settings) -> None:
            for one in (self.options, more):
                if one.prepare:
                    one.prepare(settings)

        tables = {
            name: [*self.options.extra_tables.get(name, ()), *more.extra_tables.get(name, ())]
            for name in self.options.extra_tables.keys() | more.extra_tables.keys()
        }
        options = replace(
            self.options,
            extra_tables=tables,
            extra_topics=[*self.options.extra_topics, *more.extra_topics],
            prepare=prepare,
        )
        return replace(self, options=options)

    def kill(self, part: str) -> None:
        """End a part as a crash does."""
        self.stack.supervisor.kill(part)

    def stop(self, part: str) -> None:
        self.stack.supervisor.stop(part)

    def revive(self) -> None:
        """Start whatever does not run, and wait until it does."""
        self.stack.up(self.options)

    def restart(self, part: str) -> None:
        self.stop(part)
        self.revive()


@pytest.fixture(scope="session")
def stack() -> Iterator[StackUnderTest]:
    """A stack of real parts with empty databases, stopped when the session ends."""
    with running(StackUnderTest) as found:
        yield found


@pytest.fixture(scope="session")
def monitoring_programs() -> monitoring.Programs:
    """Prometheus and Alertmanager of the pinned versions, fetched once."""
    found = layout.find(os.environ)
    found.logs.mkdir(parents=True, exist_ok=True)
    versions = envfile.load(found.root / "compose" / "versions.env")
    return monitoring.install(found, versions, Reporter())


@contextmanager
def running(make: Callable[..., StackUnderTest]) -> Iterator[StackUnderTest]:
    """Start a stack with fresh data in a home of its own, and end it after the block.

    `make` gets the `stack` and its `options` before anything is started.
    """
    with _own_home(layout.find(os.environ)) as home:
        yield from _up(home, make)


def _up(home: Layout, make: Callable[..., StackUnderTest]) -> Iterator[StackUnderTest]:
    environ = {key: text for key, text in os.environ.items() if not key.startswith("SINK_STACK_")}
    if home.settings.exists():
        Stack(home, environ, Reporter()).clean()  # an earlier session that was cut off
    environ |= _own_ports()
    under_test = make(stack=Stack(home, environ, Reporter()), options=_options())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JDK_JAVA_OPTIONS", _JAVA_OPTIONS)
        try:
            under_test.revive()
            yield under_test
        finally:
            under_test.stack.down()


@contextmanager
def _own_home(found: Layout) -> Iterator[Layout]:
    """The first home that no other session of this repository uses."""
    locks = found.cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        home = found.root / (".stack-test" if number == 1 else f".stack-test-{number}")
        name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
        with (locks / name).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Layout(root=found.root, home=home, cache=found.cache)
            return


def _own_ports() -> dict[str, str]:
    """Never the usual ones: another stack may be starting on them at this moment."""
    chosen: dict[str, str] = {}
    # The tests start their own runners: one of them may have the port of `health` at a revival.
    for name in ports.PREFERRED.keys() - {"health"}:
        taken = frozenset(map(int, chosen.values()))
        chosen[f"SINK_STACK_PORT_{name.upper()}"] = str(ports.any_free(taken))
    return chosen


def _options() -> Options:
    tables = {name: [f"{SCHEMA}.{table}" for table in found] for name, found in TRAPS.items()}
    return Options(
        extra_tables=tables,
        extra_topics=[
            Topic(
                name=f"smart_{name}.{table.replace(' ', '_')}",
                key=["id"],
                partitions=1,
                retention_days=1,
            )
            for name, found in tables.items()
            for table in found
        ],
        prepare=_create_trap_tables,
    )


def _create_trap_tables(settings: Settings) -> None:
    """Create the tables, unless they exist: each `revive` calls this again."""
    for name, tables in TRAPS.items():
        with psycopg.connect(settings.admin_dsn(f"smart_{name}")) as connection:
            if connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
                _create(connection, tables)


def _create(connection: psycopg.Connection, tables: Mapping[str, str]) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    for table, columns in tables.items():
        name = sql.Identifier(SCHEMA, table)
        connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(columns)))
        connection.execute(sql.SQL("ALTER PUBLICATION sink_publication ADD TABLE {}").format(name))
        if table in _FULL_IDENTITY:
            connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(name))
    connection.execute("GRANT USAGE ON SCHEMA trap TO sink_capture")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA trap TO sink_capture")
