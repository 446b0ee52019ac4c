"""A PostgreSQL server that accepts only TLS; one role logs in with a certificate."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sink_stack import testing_postgres
from sink_stack.testing_postgres import Postgres, installed, running

from ...support.certificates import Authority

_HBA = """
hostssl all,replication postgres 127.0.0.1/32 scram-sha-256
hostssl all sink_reader 127.0.0.1/32 cert
hostssl all sink_writer 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureServer:
    """A running server, and the authority that signed the certificates of server and reader."""

    postgres: Postgres
    authority: Authority
    certificate: tuple[Path, Path]
    """Certificate and key of role sink_reader."""

    def writer(self, database: str, **parameters: Any) -> str:
        """Return the connection string of sink_writer, without its password."""
        return self._dsn("sink_writer", database, parameters)

    def reader(self, database: str, **parameters: Any) -> str:
        """Return the connection string of sink_reader, with its certificate."""
        certificate, key = map(str, self.certificate)
        files = {"sslcert": certificate, "sslkey": key}
        return self._dsn("sink_reader", database, files | parameters)

    @property
    def password(self) -> str:
        return self.postgres.passwords["sink_writer"]

    def admin(self, *statements: str) -> None:
        with psycopg.connect(self.postgres.dsn("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def end_sessions(self, role: str) -> None:
        """End the role's sessions, as a restart of the server does."""
        self.admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        )

    def _dsn(self, user: str, database: str, parameters: dict[str, Any]) -> str:
        address = {
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "dbname": database,
            "user": user,
        }
        tls = {"sslmode": "verify-full", "sslrootcert": str(self.authority.file)}
        return make_conninfo("", **{**address, **tls, **parameters})


@contextmanager
def run_secure_server(folder: Path) -> Iterator[SecureServer]:
    """Run a server whose pg_hba.conf has only lines for TLS."""
    authority = Authority(folder)
    reader = authority.issue("sink_reader")
    reader[1].chmod(0o600)
    with running(_programs()) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
            data = _data(admin)
            certificate, key = authority.issue("server")
            for source, name in (
                (certificate, "server.crt"),
                (key, "server.key"),
                (authority.file, "ca.crt"),
            ):
                shutil.copyfile(source, data / name)
                (data / name).chmod(0o600)
                testing_postgres._own(data / name)
            (data / "pg_hba.conf").write_text(_HBA)
            admin.execute("ALTER SYSTEM SET ssl = on")
            admin.execute("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'")
            admin.execute("SELECT pg_reload_conf()")
        _wait_for_tls(server.dsn("postgres", "sink_writer"))
        yield SecureServer(postgres=server, authority=authority, certificate=reader)


@contextmanager
def standby(primary: SecureServer) -> Iterator[int]:
    """Run a hot standby of a server, made from a backup; yield its port."""
    home = Path(tempfile.mkdtemp(prefix="sink-standby-"))
    try:
        _back_up(primary, home / "data")
        for path in (home, *home.rglob("*")):
            testing_postgres._own(path)
        admin = primary.postgres.passwords["admin"]
        with testing_postgres._served(_programs(), home, admin) as port:
            yield port
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _back_up(primary: SecureServer, target: Path) -> None:
    """Take a low-level base backup with the write-ahead log that its recovery needs."""
    with psycopg.connect(primary.postgres.dsn("postgres"), autocommit=True) as admin:
        data = _data(admin)
        admin.execute("SELECT pg_backup_start('standby', true)")
        shutil.copytree(data, target, ignore=shutil.ignore_patterns("postmaster.*", "pg_wal"))
        ((label,),) = admin.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchall()
        shutil.copytree(data / "pg_wal", target / "pg_wal")
    (target / "backup_label").write_text(label)
    (target / "standby.signal").touch()
    target.chmod(0o700)


def _programs() -> Path:
    return installed(os.environ)[0]


def _data(admin: psycopg.Connection) -> Path:
    found = admin.execute("SHOW data_directory").fetchone()
    assert found is not None
    return Path(found[0])


def _wait_for_tls(dsn: str) -> None:
    """Wait until the server has reloaded its configuration and refuses connections without TLS."""
    while True:
        try:
            psycopg.connect(f"{dsn}?sslmode=disable").close()
        except psycopg.OperationalError:
            return
