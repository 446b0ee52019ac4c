"""Logins through PgBouncer, with TLS on both sides."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sink_stack.testing_postgres import pooling

from sink_runner.config.database import Database
from sink_runner.errors import AccessError
from sink_runner.postgres.session import connect, renew_commit_time, use_origin

from .server import SecureServer

pytestmark = pytest.mark.postgres
Configured = Callable[..., Database]


@pytest.fixture
def pooled(server: SecureServer, database: str) -> Iterator[Callable[..., str]]:
    """Return a function that makes a connection string through PgBouncer in session mode."""
    certificate, key = server.authority.issue("pooler")
    settings: dict[str, str | Path] = {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": certificate,
        "client_tls_key_file": key,
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": server.authority.file,
    }
    with pooling(server.postgres, "session", settings) as through:
        port = through(f":{server.postgres.port}/").strip(":/")
        yield lambda **more: server.writer(database, port=port, **more)


def test_session_through_pooler_uses_tls(
    configured_database: Configured, pooled: Callable[..., str]
) -> None:
    with closing(connect(configured_database(dsn=pooled()).dsn, "test")) as session:
        assert session.pgconn.ssl_in_use
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert session.execute(query).fetchone() == (True,)
        use_origin(session, "pooled")
        renew_commit_time(session)


def test_login_refused_by_pooler_is_access_error(
    configured_database: Configured, pooled: Callable[..., str]
) -> None:
    wrong = configured_database(dsn=pooled(), password="hunter2").dsn
    with pytest.raises(AccessError, match=r"authentication failed\): check the password"):
        connect(wrong, "test")
    plain = configured_database(dsn=pooled(sslmode="disable")).dsn
    with pytest.raises(AccessError, match="sslmode=verify-full"):
        connect(plain, "test")
