"""A bare PostgreSQL for tests: a real server with our SQL, our roles and nothing else of the stack.

Load it as a pytest plugin; the fixture is `postgres`. A test that writes takes a database of its
own:

    name = postgres.fresh_database("smart_citizen")
    with psycopg.connect(postgres.dsn(name, "sink_writer")) as connection: ...
"""

import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql
from sink_runner.postgres.migrations import migrate_database

from . import apt, envfile, layout
from .postgres import scripts, user
from .programs import Installer
from .progress import Reporter

Role = Literal["admin", "sink_capture", "sink_writer", "sink_reader"]
DATABASES = ("smart_warehouse", "smart_citizen")

_SUPERUSER = "postgres"
_ROLES: tuple[Role, ...] = ("sink_capture", "sink_writer", "sink_reader")
_START_SECONDS = 30
_ATTEMPTS = 3
# PostgreSQL 18 counts origins by a setting of their own, which older ones refuse.
_ORIGINS_APART = 18
# Each of thousands of sessions hashes its password as often as the role's is hashed.
_FAST_PASSWORDS, _VERSION_WITH_ITERATIONS = "SET scram_iterations = 1", 160000
# A file is made for each table of each database: in memory that takes a third of the time.
# Databases that a run has dropped and made again and again were seen to take 2.4 GB.
_MEMORY, _MEMORY_BYTES = Path("/dev/shm"), 3 << 30  # noqa: S108 - mkdtemp makes the name
_PREFIX, _ABANDONED_SECONDS = "sink-postgres-", 24 * 3600
# No crash has to be survived, so nothing is synced. Slots bound the origins ever used, too.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "200",
    "max_wal_senders": "20",
    "track_commit_timestamp": "on",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "128MB",
    "log_min_messages": "warning",
}


@dataclass(slots=True, kw_only=True)
class Postgres:
    """A running server that holds both databases."""

    port: int
    passwords: Mapping[Role, str] = field(repr=False)
    sql_folder: Path
    _names: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def dsn(self, database: str, role: Role = "admin") -> str:
        """A connection URI with its password; "admin" is the server's superuser."""
        user = _SUPERUSER if role == "admin" else role
        return f"postgresql://{user}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self, like: str, *, migrated: bool = True) -> str:
        """The name of a new, empty database with the tables, triggers and grants of `like`.

        It has the runner's own tables, unless it is not `migrated`.
        """
        name = f"{like}_{next(self._names)}"
        self._copy(_template(like, migrated), name)
        return name

    def load(self) -> None:
        """Create the roles, one template per database, and the databases from them."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as admin:
            admin.execute((self.sql_folder / "cluster.sql").read_bytes())
            if admin.info.server_version >= _VERSION_WITH_ITERATIONS:
                admin.execute(_FAST_PASSWORDS)
            for role, password in self.passwords.items():
                name = sql.Identifier(_SUPERUSER if role == "admin" else role)
                admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, password))
            for database in DATABASES:
                bare, migrated = (_template(database, flag) for flag in (False, True))
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(bare)))
                self._run(bare, scripts(self.sql_folder, database))
                self._copy(bare, migrated)
                migrate_database(self.dsn(migrated, "sink_writer"))
                self._copy(bare, database)
                # A template with a session in it cannot be copied.
                for template in (bare, migrated):
                    closed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false")
                    admin.execute(closed.format(sql.Identifier(template)))

    def _copy(self, template: str, name: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as admin:
            admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        # What belongs to the database itself is not copied.
        self._run(name, [self.sql_folder / "common" / "70-database.sql"])

    def _run(self, database: str, files: list[Path]) -> None:
        with psycopg.connect(self.dsn(database), autocommit=True) as admin:
            for file in files:
                admin.execute(file.read_bytes())


def installed(environ: Mapping[str, str]) -> list[Path]:
    """The folders with PostgreSQL's programs: configured, else the stack's, then the machine's."""
    if configured := environ.get("SINK_TEST_POSTGRES_BIN"):
        return [Path(configured)]
    found = layout.find(environ)
    versions = envfile.load(found.root / "compose" / "versions.env")
    own = found.programs / f"postgres-{versions['POSTGRES_VERSION']}" / "bin"
    machine = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    return [own] * own.is_dir() + [program.parent for program in machine]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run; started at first use."""
    programs = installed(os.environ) or [_fetched(os.environ)]
    with running(programs[0]) as server:
        yield server


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """Start the server whose programs lie in a folder, load our SQL, and end it afterwards."""
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_folder()))
    passwords: dict[Role, str] = {role: secrets.token_hex(16) for role in ("admin", *_ROLES)}
    try:
        _own(home)
        _initialise(programs, home, passwords["admin"])
        with _served(programs, home, passwords["admin"]) as port:
            server = Postgres(
                port=port, passwords=passwords, sql_folder=layout.find(os.environ).sql
            )
            server.load()
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _folder() -> Path | None:
    """Where servers have their data: in memory if it is enough for each process of the run."""
    if not _MEMORY.is_dir():
        return None
    _remove_abandoned(_MEMORY)
    free = min(shutil.disk_usage(_MEMORY).free, _available_memory())
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return _MEMORY if free >= processes * _MEMORY_BYTES else None


def _remove_abandoned(folder: Path) -> None:
    """Remove the data of runs that were killed, which would hold memory until the next boot."""
    oldest = time.time() - _ABANDONED_SECONDS
    for home in folder.glob(f"{_PREFIX}*"):
        if home.stat().st_mtime < oldest:
            shutil.rmtree(home, ignore_errors=True)


def _available_memory() -> int:
    """Bytes that programs can take without swapping."""
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


def _fetched(environ: Mapping[str, str]) -> Path:
    found = layout.find(environ)
    found.make()
    versions = envfile.load(found.root / "compose" / "versions.env")
    programs = Installer(found, versions, environ).install(Reporter())
    return programs.postgres / "bin"


def _template(database: str, migrated: bool) -> str:  # noqa: FBT001 - one of two templates
    return f"template_{database}_migrated" if migrated else f"template_{database}"


def _own(path: Path) -> None:
    """Give a path to the user that the server runs as."""
    if name := user():
        shutil.chown(path, name)


def _identity() -> dict[str, Any]:
    """Return the arguments by which root starts the server as an ordinary user."""
    name = user()
    if name is None:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": ()}


def _initialise(programs: Path, home: Path, password: str) -> None:
    secret, cluster = home / "password", home / "data"
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="ascii")
    _own(secret)
    command = [str(programs / "initdb"), f"--pgdata={cluster}", f"--username={_SUPERUSER}"]
    command += [f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8"]
    completed = subprocess.run(
        command, cwd=home, capture_output=True, text=True, check=False, **_identity()
    )
    secret.unlink()
    if completed.returncode:
        raise RuntimeError(f"initdb failed:\n{completed.stderr}")
    with (cluster / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        if int((cluster / "PG_VERSION").read_text(encoding="ascii")) >= _ORIGINS_APART:
            conf.write("max_active_replication_origins = '200'\n")


@contextmanager
def _served(programs: Path, home: Path, password: str) -> Iterator[int]:
    """Yield the port of a server that answers; afterwards stop it immediately."""
    server, port = _start(programs, home, password)
    try:
        yield port
    finally:
        server.send_signal(signal.SIGQUIT)
        try:
            server.wait(timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _start(programs: Path, home: Path, password: str) -> tuple[subprocess.Popen[bytes], int]:
    """Try a few ports: another process may take a free one before the server does."""
    log = home / "log"
    for _ in range(_ATTEMPTS):
        port = _free_port()
        command = [str(programs / "postgres"), "-D", str(home / "data"), "-p", str(port)]
        with log.open("wb") as stream:
            server = subprocess.Popen(
                command, cwd=home, stdout=stream, stderr=stream, **_identity()
            )
        if _answers(server, f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{port}/postgres"):
            return server, port
        server.kill()
        server.wait()
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(encoding='utf-8')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: subprocess.Popen[bytes], dsn: str) -> bool:
    """Wait for the server to accept the administrator; False when it ended or never did."""
    bound = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < bound:
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


@contextmanager
def pooling(
    server: Postgres, pool_mode: str, settings: Mapping[str, str | Path] | None = None
) -> Iterator[Callable[[str], str]]:
    """Run PgBouncer in front of a server; yield a function that directs a URI to PgBouncer.

    `settings` are more of PgBouncer's; it gets a copy of a file.
    """
    home = Path(tempfile.mkdtemp(prefix="sink-pgbouncer-"))
    program = apt.ensure_installed("pgbouncer", "pgbouncer", home / "apt.log")
    port = _free_port()
    users = home / "users.txt"
    users.write_text("".join(f'"{role}" "{word}"\n' for role, word in server.passwords.items()))
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {pool_mode}\n"
    )
    with (home / "pgbouncer.ini").open("a") as lines:
        for name, value in (settings or {}).items():
            text = shutil.copy(value, home) if isinstance(value, Path) else value
            lines.write(f"{name} = {text}\n")
    for path in (home, *home.iterdir()):
        _own(path)
    with (home / "log").open("wb") as log:
        command = [program, str(home / "pgbouncer.ini")]
        pooler = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, **_identity())

    def through(dsn: str) -> str:
        return dsn.replace(f":{server.port}/", f":{port}/")

    try:
        if not _answers(pooler, through(server.dsn("postgres", "sink_writer"))):
            raise RuntimeError(f"PgBouncer did not start:\n{(home / 'log').read_text()}")
        yield through
    finally:
        pooler.kill()
        pooler.wait()
        shutil.rmtree(home, ignore_errors=True)
