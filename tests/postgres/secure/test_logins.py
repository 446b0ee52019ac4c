"""Logins of both roles on a server with TLS: what is accepted, what is refused, and why."""

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


def role_of(dsn: Dsn) -> tuple[str, bool]:
    """Who is signed in, and whether the connection is encrypted."""
    with closing(connect(dsn, "test")) as session:
        return session.info.user, session.pgconn.ssl_in_use


def test_password_and_certificate_sign_in(configured_database: Configured) -> None:
    made = configured_database()
    assert role_of(made.dsn) == ("sink_writer", True)
    assert role_of(made.reader_dsn) == ("sink_reader", True)


def test_channel_binding_may_be_required(
    configured_database: Configured, server: SecureServer, database: str
) -> None:
    made = configured_database(dsn=server.writer(database, channel_binding="require"))
    assert role_of(made.dsn) == ("sink_writer", True)


def test_service_and_passfile_sign_in(
    server: SecureServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text(f"127.0.0.1:*:{database}:sink_writer:{server.password}\n")
    passfile.chmod(0o600)
    service = tmp_path / "services.conf"
    lines = server.writer(database, passfile=str(passfile)).split()
    service.write_text("[north]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    assert role_of(Dsn.of("service=north")) == ("sink_writer", True)


def test_standby_is_passed_over(
    configured_database: Configured, server: SecureServer, database: str
) -> None:
    """Of two hosts the one that takes writes is used, wherever the list is."""
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


def test_service_with_silent_host_goes_on_to_next(
    server: SecureServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq gives all hosts of a service one time together."""
    monkeypatch.setattr("sink_runner.config.dsn._CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = f"{silent.getsockname()[1]},{server.postgres.port}"
        dsn = server.writer(database, host="127.0.0.1,127.0.0.1", port=ports)
        service = tmp_path / "services.conf"
        service.write_text("[north]\n" + "\n".join(dsn.split()) + f"\npassword={server.password}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(service))
        assert role_of(Dsn.of("service=north")) == ("sink_writer", True)


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
def test_refused_login_names_the_way_out(
    server: SecureServer, database: str, tmp_path: Path, parameters: dict, expected: str
) -> None:
    other = Authority(tmp_path, "other").file
    given = {key: str(value).format(other=other) for key, value in parameters.items()}
    where = {"host": "127.0.0.1", "user": "sink_writer"} | given
    with pytest.raises(AccessError, match=expected) as caught:
        connect(Dsn.of(server.writer(database, **given)), "test")
    text = str(caught.value)
    address = f"{where['host']}:{server.postgres.port}"
    assert text.startswith(f"no login to database {database} at {address} as {where['user']} (")
    assert "connection to server" not in text
    assert "hunter2" not in text


@pytest.fixture
def read_by(server: SecureServer, database: str, tmp_path: Path) -> Callable[..., Dsn]:
    """The reader's login by another certificate."""
    made = {
        "sink_other": server.authority.issue("sink_other"),
        "stranger": Authority(tmp_path, "other").issue("stranger"),
        "secret": server.authority.issue("secret", password="hunter2"),
    }
    for _, key in made.values():
        key.chmod(0o600)
    stems = {name: files[0].with_suffix("") for name, files in made.items()}

    def read(**parameters: str) -> Dsn:
        given = {key: value.format(**stems) for key, value in parameters.items()}
        return Dsn.of(server.reader(database, **given))

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
def test_refused_certificate_names_the_way_out(
    read_by: Callable[..., Dsn],
    capfd: pytest.CaptureFixture[str],
    parameters: dict,
    expected: str,
) -> None:
    with pytest.raises(AccessError, match=rf"{expected}.*\): check sslcert, sslkey and sslpassw"):
        connect(read_by(**parameters), "test")
    assert "pass phrase" not in "".join(capfd.readouterr())  # OpenSSL's question


def test_encrypted_key_is_read_with_its_password(server: SecureServer, database: str) -> None:
    certificate, key = server.authority.issue("sink_reader", password="hunter2")
    key.chmod(0o600)
    files = {"sslcert": str(certificate), "sslkey": str(key)}
    try:
        dsn = Dsn.of(server.reader(database, **files, sslpassword="hunter2"))
        assert role_of(dsn) == ("sink_reader", True)
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
    "unknown host": ({"host": "nowhere.invalid"}, "failed to resolve host"),
    "no primary": ({"target_session_attrs": "standby"}, "not in hot standby mode"),
    "restoring": ({"dbname": "nowhere"}, "does not exist"),
}


@pytest.mark.parametrize(("parameters", "expected"), OUTAGES.values(), ids=OUTAGES)
def test_outage_is_tried_again(
    server: SecureServer, database: str, parameters: dict, expected: str
) -> None:
    dsn = server.writer(database, **parameters, password=server.password)
    with pytest.raises(psycopg.OperationalError, match=expected) as caught:
        connect(Dsn.of(dsn), "test")
    fault = classify_error(caught.value)
    assert isinstance(fault, RetriableError)
    assert not isinstance(fault, ConfigError)
    assert "as sink_writer" in str(fault)
    assert server.password not in str(fault)


def test_too_many_connections_are_an_outage(
    configured_database: Configured, server: SecureServer
) -> None:
    server.admin("ALTER ROLE sink_writer CONNECTION LIMIT 0")
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            connect(configured_database().dsn, "test")
    finally:
        server.admin("ALTER ROLE sink_writer CONNECTION LIMIT -1")
