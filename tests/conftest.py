"""Fixtures that every test may use."""

import gc
import importlib
import itertools
import logging
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from sink_runner.cli import main
from sink_runner.masking.policy import Policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.model.changes import Change, Position, Removal, Write
from sink_runner.plugin import ABSENT, Action, Column, Delete, Table, TableMapping, source_wins
from sink_runner.postgres.catalog import TableCatalog, qualified, read_table
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.testing import NOW
from sink_runner.transform.compiled_mapping import CompiledMapping, target_columns
from sink_runner.transform.key_identity import KeyIdentity
from sink_runner.transform.row_plan import to_stage
from sink_runner.transform.steps import Chain
from sink_runner.writer.audit import trail
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.writers import make_writer

# The time that an example takes depends on the load of the machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_STACK_FIRST = (
    *("stack/secure/test_secure_stack", "stack/test_doctor"),
    *("stack/test_api", "stack/test_kill"),
)
"""The secure stack has ended when the session's own starts, which `doctor` finds as it was set up.
The API's callbacks stay in topics, which the next module deletes: it needs fresh databases."""
_STACK_LAST = ("chaos/test_faults", "chaos/test_disaster_recovery", "chaos/test_canaries")
"""What breaks the stack is last, and its remains are searched."""
MAPPING = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="{source}",
        target="{target}",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
    )
"""

NIGHTLY = """
from dataclasses import replace
from sink_runner.plugin import Schedule
_declared = sink_mapping

@hookimpl
def sink_mapping():
    return replace(_declared(), streaming=False, schedules=(Schedule("0 0 * * *"),))
"""

CONFIG = """
[kafka]
bootstrap = "127.0.0.1:9092"
[registry]
url = "http://127.0.0.1:8081"
[databases.north]
dsn = { env = "NORTH", default = "password=hunter2" }
reader_dsn = "dbname=north"
[dead_letters]
key = "hunter2"
key_id = "one"
[plugins]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the modules that use the stack."""
    places = {_module(name): at for at, name in enumerate(_STACK_FIRST, -len(_STACK_FIRST))}
    places |= {_module(name): at for at, name in enumerate(_STACK_LAST, 1)}
    items.sort(key=lambda item: places.get(item.path, 0))


def _module(name: str) -> Path:
    return Path(__file__).parent / f"{name}.py"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command configures logging; the next test expects to find none of that."""
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    handlers, levels = [*root.handlers], (root.level, kafka.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    kafka.setLevel(levels[1])
    structlog.reset_defaults()


@pytest.fixture
def abandoned_sockets(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """kafka-python leaves a socket that could not connect to the garbage collector."""
    yield
    caplog.get_records("call").clear()  # their exceptions hold the sockets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Site:
    """A folder on sys.path that holds distributions as pip would leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def mapping(self, name: str, source: str = "", target: str = "", code: str = "") -> None:
        """Install a plugin that maps one table; `code` is added to its module."""
        source = source or f"north.public.{name}"
        target = target or f"south.public.{name}"
        self.plugin(name, MAPPING.format(source=source, target=target) + code)

    def nightly(self, name: str) -> None:
        """Install a plugin whose mapping is written by its batch form alone."""
        self.mapping(name, code=NIGHTLY)

    def plugin(
        self,
        name: str,
        code: str,
        *,
        group: str = "sink_runner.v1",
        dist: str = "",
        attribute: str = "",
        requires: str = "",
    ) -> None:
        dist = dist or f"sink-{name}"
        module = f"{dist}_{name}_for_tests".replace("-", "_")
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(code)
        value = f"{module}:{attribute}" if attribute else module
        self.distribution(dist, "1.5", f"[{group}]\n{name} = {value}\n", requires)

    def distribution(
        self, dist: str, version: str, entry_points: str = "", requires: str = ""
    ) -> None:
        info = self.folder / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {dist}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requires}"] if requires else []
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(entry_points)
        importlib.invalidate_caches()

    def was_imported(self, name: str) -> bool:
        return any(module in sys.modules for module in self.modules if f"_{name}_for" in module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Install plugins for one test; plugins installed for good are there as well."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command and return (exit code, stdout, stderr)."""
    other = re.compile(r"sink-runner: command 'demo' .* is left out: .*\n")

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, other.sub("", captured.err)

    return call


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Stand in a folder whose configuration turns on the plugins that are given."""

    def write(*enabled: str, disabled: tuple[str, ...] = (), more: str = "") -> Path:
        path = tmp_path / "sink-runner.toml"
        lists = f"enabled = {list(enabled)}\ndisabled = {list(disabled)}\n"
        path.write_text(CONFIG + lists + more)
        return path

    for name in ("SINK_PLUGINS", "SINK_PLUGINS_OFF", "SINK_CONFIG", "NORTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write()
    return write


class Scratch:
    """A schema of its own in a real database, whose tables the sink's role may write."""

    def __init__(self, postgres, database: str) -> None:
        self.postgres = postgres
        self.dsn = postgres.dsn(database, "sink_writer")
        self.admin = psycopg.connect(postgres.dsn(database), autocommit=True)
        self.schema = f"scratch_{next(_NUMBERS)}"
        self.admin.execute(f"CREATE SCHEMA {self.schema}".encode())
        self.admin.execute(f"GRANT USAGE ON SCHEMA {self.schema} TO sink_writer".encode())
        self._sessions: list[psycopg.Connection] = []

    def table(self, columns: str, name: str = "t") -> TableCatalog:
        """Create a table and say what the catalog knows of it."""
        table = Table("north", self.schema, name)
        created = qualified(self.schema, name)
        self.admin.execute(f"CREATE TABLE {created} ({columns})".encode())
        self.admin.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {created} TO sink_writer".encode()
        )
        return read_table(self.admin, table)

    def session(self) -> psycopg.Connection:
        """A session of the sink's role."""
        self._sessions.append(connect(self.dsn, "scratch"))
        return self._sessions[-1]

    def rows(self, table: TableCatalog, columns: str = "*") -> list[tuple]:
        query = f"SELECT {columns} FROM {table.sql_name} ORDER BY 1"
        return self.admin.execute(query.encode()).fetchall()

    def close(self) -> None:
        for connection in (self.admin, *self._sessions):
            connection.close()


_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def scratch_database(postgres) -> str:
    """One database for all scratch tables, with the runner's own tables in it."""
    name: str = postgres.fresh_database("smart_citizen")
    with psycopg.connect(postgres.dsn(name, "sink_writer"), autocommit=True) as connection:
        migrate(connection)
    return name


@pytest.fixture
def scratch(postgres, scratch_database: str) -> Iterator[Scratch]:
    """Make tables as a test needs them."""
    made = Scratch(postgres, scratch_database)
    yield made
    made.close()


Place: TypeAlias = int | tuple[int, int] | None


def place(position: Place) -> Position | None:
    """A position in the log; a bare number is the first change of a transaction there."""
    return (position, 1) if isinstance(position, int) else position


class Written:
    """A scratch table, the runner's writer for it, and a session that it writes in."""

    def __init__(self, scratch: Scratch, ddl: str, *columns: Column, **declared: Any) -> None:
        self.table = scratch.table(ddl, declared.pop("name", "t"))
        self.identity = declared.pop("identity", KeyIdentity.SOURCE_ROW)
        names = columns or tuple(Column(name) for name in self.table.columns)
        mapping = {
            "source": "north.public.t",
            "target": "north.public.t",
            "key": ("id",),
            "conflict": source_wins(),
            "columns": names,
        }
        self.mapping = TableMapping(**mapping | declared)
        self.columns = target_columns(self.mapping, self.table.columns, NO_POLICIES)
        self.scratch = scratch
        self.name = f"written-{scratch.schema}"
        self.connection = scratch.session()
        self.writer = self.another(self.connection)

    def another(
        self,
        connection: psycopg.Connection,
        unmasked: Collection[str] = (),
        *,
        source_key_unmasked: bool = True,
    ) -> Any:
        """A writer for one more session, which may show some columns and the source's key."""
        parts = CompiledMapping(
            self.columns,
            Chain(),
            None,
            None,
            frozenset(unmasked),
            self.identity,
            source_key_unmasked=source_key_unmasked,
        )
        audited = trail(self.name, self.mapping, parts, Encryptor(bytes(32), "test"))
        writer = make_writer(self.name, self.mapping, parts, self.table, audited)
        writer.prepare(connection)
        return writer

    def row(
        self, *values: Any, keep: int = 0, position: Place = 1, owner: str | None = None
    ) -> Write:
        """A change to write; values are Python's and are staged as the runner stages them."""
        staged = tuple(
            value if value is None or value is ABSENT else to_stage(column)(value)
            for value, column in zip(values, self.columns, strict=True)
        )
        names = [column.name for column in self.columns]
        declared = self.mapping.derived or self.mapping
        key = tuple(staged[names.index(name)] for name in declared.key)
        return Write(key, staged, keep, ABSENT in staged, place(position), None, None, owner)

    def gone(
        self,
        *key: Any,
        action: Action | None = None,
        position: Place = 1,
        owner: str | None = None,
    ) -> Removal:
        return Removal(key, action or Delete(), place(position), None, "subject", owner)

    def write(self, *changes: Change) -> int:
        with self.connection.transaction():
            written: int = self.writer.write(self.connection, changes, NOW)
        return written

    def rows(self, columns: str = "*") -> list[tuple]:
        return self.scratch.rows(self.table, columns)


NO_POLICIES = Policies(PolicyFiles(version=0, digest="", policies=()))


@pytest.fixture
def written(scratch: Scratch) -> Callable[..., Written]:
    """Make a table and a writer for it: its columns as SQL, then what the mapping declares."""
    return partial(Written, scratch)
