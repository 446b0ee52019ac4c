"""Logins of both roles on a server with TLS: accepted ones, refused ones and outages."""

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sink_runner.config.database import Database
from sink_runner.config.dsn import Dsn
from sink_runner.errors import AccessError, ConfigError, RetriableError
from sink_runner.postgres.error_classes import classify_error
from sink_runner.postgres.session import connect

from ...support.certificates import Authority
from .server import SecureServer, standby

pytestmark = pytest.mark.postgres
Configured = Callable[..., Database]


def role_and_tls(dsn: Dsn) -> tuple[str, bool]:
    """Return the role of a session, and whether the connection is encrypted."""
    with closing(connect(dsn, "test")) as session:
        return session.info.user, session.pgconn.ssl_in_use


def test_password_and_certificate_are_accepted(configured_database: Configured) -> None:
    settings = configured_database()
    assert role_and_tls(settings.dsn) == ("sink_writer", True)
    assert role_and_tls(settings.reader_dsn) == ("sink_reader", True)


def test_required_channel_binding_is_accepted(
    configured_database: Configured, server: SecureServer, database: str
) -> None:
    settings = configured_database(dsn=server.writer(database, channel_binding="require"))
    assert role_and_tls(settings.dsn) == ("sink_writer", True)


def test_service_and_passfile_are_accepted(
    server: SecureServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text(f"127.0.0.1:*:{database}:sink_writer:{server.password}\n")
    passfile.chmod(0o600)
    service = tmp_path / "services.conf"
    lines = server.writer(database, passfile=str(passfile)).split()
    service.write_text("[north]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    assert role_and_tls(Dsn.of("service=north")) == ("sink_writer", True)


def test_standby_is_skipped_for_writes(
    configured_database: Configured, server: SecureServer, database: str
) -> None:
    """Of two hosts, target_session_attrs=read-write selects the primary, whatever their order."""
    with standby(server) as port:
        ports = f"{port},{server.postgres.port}"
        hosts = {"host": "127.0.0.1,127.0.0.1", "port": ports}
        first = configured_database(dsn=server.writer(database, **hosts))
        with closing(connect(first.dsn, "test")) as session:
            assert session.info.port == port
            assert session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        writes = server.writer(database, **hosts, target_session_attrs="read-write")
        with closing(connect(configured_database(dsn=writes).dsn, "test")) as session:
            assert session.info.port == server.postgres.port


def test_silent_host_of_service_is_skipped(
    server: SecureServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq applies one connect timeout to all hosts of a service together."""
    monkeypatch.setattr("sink_runner.config.dsn._CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = f"{silent.getsockname()[1]},{server.postgres.port}"
        dsn = server.writer(database, host="127.0.0.1,127.0.0.1", port=ports)
        service = tmp_path / "services.conf"
        service.write_text("[north]\n" + "\n".join(dsn.split()) + f"\npassword={server.password}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(service))
        assert role_and_tls(Dsn.of("service=north")) == ("sink_writer", True)


REFUSED = {
    "wrong password": (
        {"password": "hunter2"},
        r'password authentication failed for user "sink_writer"\): check the password',
    ),
    "no password": ({}, r"no password supplied\): check the password in \[databases\] or in pass"),
    "unknown authority": (
        {"password": "hunter2", "sslrootcert": "{other}"},
        r"certificate verify failed\): check sslrootcert in dsn",
    ),
    "no authority": (
        {"password": "hunter2", "sslrootcert": "/none"},
        r'root certificate file "/none" does not exist\): check sslrootcert in dsn',
    ),
    "other name": (
        {"password": "hunter2", "host": "localhost"},
        r'does not match host name "localhost"\): check sslrootcert in dsn, and that the cert',
    ),
    "no TLS": (
        {"password": "hunter2", "sslmode": "disable"},
        r"no encryption\): let the role in by pg_hba.conf .* sslmode=verify-full",
    ),
    "no entry": ({"user": "sink_capture"}, r'user "sink_capture", .*\): let the role in by pg_hba'),
    "other method": (
        {"password": "hunter2", "require_auth": "none"},
        r"SASL authentication\): check require_auth and channel_binding in dsn",
    ),
}


@pytest.mark.parametrize(("parameters", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_login_error_has_remedy(
    server: SecureServer, database: str, tmp_path: Path, parameters: dict, expected: str
) -> None:
    other = Authority(tmp_path, "other").file
    changes = {key: str(value).format(other=other) for key, value in parameters.items()}
    login = {"host": "127.0.0.1", "user": "sink_writer"} | changes
    with pytest.raises(AccessError, match=expected) as caught:
        connect(Dsn.of(server.writer(database, **changes)), "test")
    text = str(caught.value)
    address = f"{login['host']}:{server.postgres.port}"
    assert text.startswith(f"no login to database {database} at {address} as {login['user']} (")
    assert "connection to server" not in text
    assert "hunter2" not in text


@pytest.fixture
def reader_dsn(server: SecureServer, database: str, tmp_path: Path) -> Callable[..., Dsn]:
    """Return a function that makes the reader's connection string with another certificate."""
    certificates = {
        "sink_other": server.authority.issue("sink_other"),
        "stranger": Authority(tmp_path, "other").issue("stranger"),
        "secret": server.authority.issue("secret", password="hunter2"),
    }
    for _, key in certificates.values():
        key.chmod(0o600)
    stems = {name: files[0].with_suffix("") for name, files in certificates.items()}

    def read(**parameters: str) -> Dsn:
        changes = {key: value.format(**stems) for key, value in parameters.items()}
        return Dsn.of(server.reader(database, **changes))

    return read


CERTIFICATES = {
    "none": ({"sslcert": "/none"}, "requires a valid client certificate"),
    "of another role": ({"sslcert": "{sink_other}.crt", "sslkey": "{sink_other}.key"}, "failed"),
    "of another authority": (
        {"sslcert": "{stranger}.crt", "sslkey": "{stranger}.key"},
        "alert unknown ca",
    ),
    "without its key": ({"sslkey": "/none"}, 'not private key file "/none"'),
    "encrypted": ({"sslcert": "{secret}.crt", "sslkey": "{secret}.key"}, "private key file"),
}


@pytest.mark.parametrize(("parameters", "expected"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_refused_certificate_error_has_remedy(
    reader_dsn: Callable[..., Dsn],
    capfd: pytest.CaptureFixture[str],
    parameters: dict,
    expected: str,
) -> None:
    with pytest.raises(AccessError, match=rf"{expected}.*\): check sslcert, sslkey and sslpassw"):
        connect(reader_dsn(**parameters), "test")
    assert "pass phrase" not in "".join(capfd.readouterr())  # OpenSSL must not prompt


def test_encrypted_key_is_read_with_its_password(server: SecureServer, database: str) -> None:
    certificate, key = server.authority.issue("sink_reader", password="hunter2")
    key.chmod(0o600)
    files = {"sslcert": str(certificate), "sslkey": str(key)}
    try:
        dsn = Dsn.of(server.reader(database, **files, sslpassword="hunter2"))
        assert role_and_tls(dsn) == ("sink_reader", True)
    finally:
        server.authority.issue("sink_reader")[1].chmod(0o600)


def test_role_that_may_not_log_in_is_refused(
    configured_database: Configured, server: SecureServer
) -> None:
    server.admin("ALTER ROLE sink_writer NOLOGIN")
    try:
        with pytest.raises(AccessError, match=r"not permitted to log in\): check the role in dsn"):
            connect(configured_database().dsn, "test")
    finally:
        server.admin("ALTER ROLE sink_writer LOGIN")


OUTAGES = {
    "unreachable": ({"port": 1}, "Connection refused"),
    "unknown host": ({"host": "unknown.invalid"}, "failed to resolve host"),
    "no primary": ({"target_session_attrs": "standby"}, "not in hot standby mode"),
    "restoring": ({"dbname": "unknown"}, "does not exist"),
}


@pytest.mark.parametrize(("parameters", "expected"), OUTAGES.values(), ids=OUTAGES)
def test_outage_is_retriable_error(
    server: SecureServer, database: str, parameters: dict, expected: str
) -> None:
    dsn = server.writer(database, **parameters, password=server.password)
    with pytest.raises(psycopg.OperationalError, match=expected) as caught:
        connect(Dsn.of(dsn), "test")
    error = classify_error(caught.value)
    assert isinstance(error, RetriableError)
    assert not isinstance(error, ConfigError)
    assert "as sink_writer" in str(error)
    assert server.password not in str(error)


def test_too_many_connections_are_an_outage(
    configured_database: Configured, server: SecureServer
) -> None:
    server.admin("ALTER ROLE sink_writer CONNECTION LIMIT 0")
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            connect(configured_database().dsn, "test")
    finally:
        server.admin("ALTER ROLE sink_writer CONNECTION LIMIT -1")
