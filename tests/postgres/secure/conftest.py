"""One server with TLS for the session, and the logins of its clients."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.config.database import Database
from sink_runner.config.reader import SettingsReader
from sink_runner.postgres.migrations import migrate

from .server import SecureServer, run_secure_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    with run_secure_server(tmp_path_factory.mktemp("secure-postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def database(server: SecureServer) -> str:
    """A database with the runner's own tables."""
    name: str = server.postgres.fresh_database("smart_citizen")
    dsn = server.postgres.dsn(name, "sink_writer")
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
    return name


@pytest.fixture
def password(server: SecureServer, tmp_path: Path) -> Iterator[Path]:
    """The file with the writer's password; the server's password is restored afterwards."""
    path = tmp_path / "password"
    path.write_text(server.password + "\n")
    yield path
    server.admin(f"ALTER ROLE sink_writer PASSWORD '{server.password}'")


@pytest.fixture
def configured_database(
    server: SecureServer, database: str, password: Path
) -> Callable[..., Database]:
    """Return a function that reads `[databases.north]` with TLS logins and changed settings."""

    def read(**changes: Any) -> Database:
        table = {
            "dsn": server.writer(database),
            "reader_dsn": server.reader(database),
            "password": {"file": str(password)},
        }
        merged = {key: value for key, value in (table | changes).items() if value is not None}
        return SettingsReader().read(Database, merged, "databases.north")

    return read
