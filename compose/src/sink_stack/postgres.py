"""The PostgreSQL cluster: made once, filled from compose/sql, and never run as root."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sink_runner.errors import RetriableError, SinkError
from sink_runner.postgres.migrations import migrate_database

from . import settings as settings_module
from .errors import StackError
from .layout import Layout
from .processes import Command
from .settings import DATABASES, Settings

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket: its path would have to be short, and reachable by two users.
    "unix_socket_directories": "",
    "wal_level": "logical",
    # Also bounds the replication origins ever used: one for each mapping and runner.
    "max_replication_slots": "200",
    "max_wal_senders": "20",
    # A capture that is gone for good must not fill the disk.
    "max_slot_wal_keep_size": "2GB",
    "track_commit_timestamp": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "autovacuum": "on",
    # A log is read by more people than a table: no statement, no DETAIL, which quotes rows, and no
    # message of a statement that failed, which may quote a value. Its client gets it nevertheless.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
PASSWORDS = ("admin", "capture", "writer", "reader")
_ROLES = {"sink_capture": "capture", "sink_writer": "writer", "sink_reader": "reader"}
_SCHEMA = "STACK_DATABASE_SCHEMA"
_DATA = "STACK_POSTGRES_DATA"


def user() -> str | None:
    """The user that the server runs as if the caller is root; None keeps the caller."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def data_folder(layout: Layout, settings: Settings, runs_as: str | None) -> Path:
    """Where the cluster lies: in the home, unless the server's user cannot get there."""
    if known := settings.values.get(_DATA):
        return Path(known)
    if runs_as is None or reachable(layout.home, runs_as):
        return layout.home / "pgdata"
    digest = hashlib.sha256(str(layout.home).encode()).hexdigest()[:12]
    return Path("/var/lib/sink-runner") / digest / "pgdata"


def reachable(path: Path, runs_as: str) -> bool:
    """Whether another user may enter a folder."""
    probe = ["test", "-x", str(path)]
    return subprocess.run(probe, user=runs_as, extra_groups=[], check=False).returncode == 0


class Postgres:
    """One cluster with both databases."""

    def __init__(self, layout: Layout, settings: Settings, program: Path) -> None:
        self._layout = layout
        self._settings = settings
        self._program = program
        self._user = user()
        self.data = data_folder(layout, settings, self._user)

    def command(self) -> Command:
        argv = [str(self._program / "bin" / "postgres"), "-D", str(self.data)]
        argv += ["-p", str(self._settings.port("postgres"))]
        for name, value in SERVER_SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        return Command(
            name="postgres",
            argv=argv,
            cwd=self.data,
            user=self._user,
            stop_signal=signal.SIGINT,  # fast: ends sessions, writes a checkpoint
        )

    def create_cluster(self) -> Settings:
        """Run initdb unless there is a cluster that `fill` has completed."""
        if self._settings.values.get(_SCHEMA) and (self.data / "PG_VERSION").exists():
            return self._settings
        shutil.rmtree(self.data, ignore_errors=True)
        self._make_data_folder()
        self._initdb()
        values = {name: text for name, text in self._settings.values.items() if name != _SCHEMA}
        values[_DATA] = str(self.data)
        self._settings = Settings(values)
        settings_module.save(self._layout, self._settings)
        return self._settings

    def ready(self) -> bool:
        try:
            psycopg.connect(self._settings.admin_dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def fill(self) -> Settings:
        """Create roles, databases and tables once, and record that all of it is done."""
        digest = schema_digest(self._layout.sql)
        if self._settings.values.get(_SCHEMA):
            return self._settings
        cluster = Access(
            address=f"127.0.0.1:{self._settings.port('postgres')}",
            passwords={role: self._settings.password(role) for role in PASSWORDS},
        )
        create_databases(cluster, self._layout.sql)
        self._settings = settings_module.remember(self._layout, self._settings, **{_SCHEMA: digest})
        return self._settings

    def outdated(self) -> bool:
        """Whether compose/sql changed since the databases were made."""
        return self._settings.values.get(_SCHEMA) != schema_digest(self._layout.sql)

    def _make_data_folder(self) -> None:
        self.data.mkdir(parents=True, mode=0o700)
        if self._user is None:
            return
        if self.data.parent != self._layout.home:
            self.data.parent.chmod(0o755)
        entry = pwd.getpwnam(self._user)
        os.chown(self.data, entry.pw_uid, entry.pw_gid)
        if not reachable(self._program / "bin", self._user):
            raise StackError(
                f"PostgreSQL runs as user {self._user}, who cannot reach {self._program}:"
                " set SINK_STACK_CACHE to a folder that every user may enter"
            )

    def _initdb(self) -> None:
        password = self.data.parent / "initdb.password"
        password.write_text(self._settings.password("admin"), encoding="utf-8")
        password.chmod(0o600)
        if self._user:
            shutil.chown(password, self._user)
        command = [str(self._program / "bin" / "initdb"), "-D", str(self.data), "-U", "postgres"]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        command += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync"]
        try:
            completed = subprocess.run(
                command,
                cwd="/",
                user=self._user,
                extra_groups=[] if self._user else None,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password.unlink()
        if completed.returncode:
            raise StackError(f"initdb failed: {completed.stderr.strip()}")


def scripts(folder: Path, database: str) -> list[Path]:
    """What makes a database: its own files and those that all have, together in name order."""
    files = [path for part in ("common", database) for path in (folder / part).glob("*.sql")]
    return sorted(files, key=lambda path: path.name)


def schema_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.sql")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The address of a cluster, and the password that each role gets."""

    address: str
    passwords: Mapping[str, str] = field(repr=False)

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres:{self.passwords['admin']}@{self.address}/{database}"


def create_databases(cluster: Access, folder: Path) -> None:
    """Run compose/sql as the administrator: roles first, then each database in name order."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        _run(connection, folder / "cluster.sql")
        for role, name in _ROLES.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(cluster.passwords[name])
                )
            )
        for database in DATABASES.values():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    for database in DATABASES.values():
        with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
            for path in scripts(folder, database):
                _run(connection, path)


def migrate_databases(dsn: Callable[[str], str]) -> list[str]:
    """Create or upgrade the runner's own tables, which views of compose/sql read.

    `dsn` returns an administrator's connection string for a database.  Returns the databases that
    changed.
    """
    changed = []
    for database in DATABASES.values():
        # As the writer, so that it owns the tables.
        as_writer = make_conninfo(dsn(database), options="-c role=sink_writer")
        try:
            changed += [database] if migrate_database(as_writer, "sink-stack") else []
        except RetriableError as exc:  # a runner of another version holds a lock for too long
            raise StackError(f"the sink's tables in {database}: {exc}; run `up` again") from exc
        except SinkError as exc:
            raise StackError(f"the sink's tables in {database}: {exc}") from exc
    return changed


def _run(connection: psycopg.Connection, path: Path) -> None:
    """Run a file as one implicit transaction."""
    try:
        connection.execute(path.read_bytes())
    except psycopg.Error as exc:
        raise StackError(f"{path}: {exc.diag.message_primary} ({exc.sqlstate})") from exc
