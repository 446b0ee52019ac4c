"""`sink-stack psql`, without a server."""

import io

import pytest

from sink_stack import psql, settings
from sink_stack.progress import Reporter
from sink_stack.stack import Stack


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A psql that records its arguments and environment."""
    path = tmp_path / "bin" / "psql"
    path.parent.mkdir()
    path.write_text(
        '#!/bin/sh\necho "$PGHOST $PGPORT $PGUSER $PGPASSWORD $PGDATABASE: $*"'
        f" > {tmp_path}/called\nexit 3\n"
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return tmp_path / "called"


def test_psql_gets_password_by_environment_only(home, program):
    prepared = settings.prepare(home, {}, lambda _: False)
    stack = Stack(home, {}, Reporter(io.StringIO()))
    code = psql.run(stack, "smart_citizen", ["-c", "SELECT 1"], {"STACK": "native"})
    assert code == 3
    where, arguments = program.read_text().split(": ")
    port, password = prepared.port("postgres"), prepared.password("admin")
    assert where == f"127.0.0.1 {port} postgres {password} smart_citizen"
    assert arguments == "-c SELECT 1\n"
