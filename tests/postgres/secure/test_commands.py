"""Commands with TLS logins from a configuration file: what they print, and what they hide."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ..preflight.conftest import KEY, POLICIES
from .server import SecureServer

pytestmark = pytest.mark.postgres
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def secure_file(
    server: SecureServer, database: str, password: Path, configured: Callable[..., Path]
) -> Path:
    """A configuration with TLS, a password for one role and a certificate for the other."""
    path = configured(more=f'[policies]\ndirectory = "{POLICIES}"\n')
    text = path.read_text()
    login = f'dsn = "{server.writer(database)}"\npassword = {{ file = "{password}" }}'
    text = text.replace('dsn = { env = "NORTH", default = "password=hunter2" }', login)
    text = text.replace("dbname=north", server.reader(database, sslpassword="hunter2"))
    path.write_text(text.replace('key = "hunter2"', f'key = "{KEY}"'))
    return path


def test_command_uses_login_of_configuration_file(call: Call, secure_file: Path) -> None:
    assert call("dlq", "list")[::2] == (0, "")


def test_refused_login_ends_command_with_remedy(
    call: Call, secure_file: Path, password: Path, database: str
) -> None:
    password.write_text("hunter3")
    code, out, err = call("dlq", "list")
    assert code == 78
    assert f"no login to database {database} at 127.0.0.1:" in err
    assert "check the password in [databases]" in err
    assert "hunter" not in out + err


def test_config_prints_where_secrets_come_from(
    call: Call, secure_file: Path, password: Path, server: SecureServer
) -> None:
    code, out, err = call("config")
    assert (code, err) == (0, "")
    assert f"databases.north.password = ***  # from file {password}" in out
    assert "databases.north.dsn = ***" in out
    assert server.password not in out
    assert "hunter2" not in out
