"""The commands of docs/guide/databases.md, from CREATE DATABASE to a row captured by Debezium."""

import base64
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sink_stack import ports
from sink_stack.processes import group_members
from sink_stack.programs import Installer
from sink_stack.testing_stack import StackUnderTest

from ..support import guide
from ..support.waits import eventually
from .runner_process import ROOT

pytestmark = pytest.mark.stack

_SCRIPT_SECONDS = 120
_STOP_SECONDS = 30
_TOPICS = "org.apache.kafka.tools.TopicCommand"
_DROP_SLOT = """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                WHERE slot_name = 'sink_north'"""


@pytest.fixture
def environment(stack: StackUnderTest, tmp_path: Path) -> dict[str, str]:
    """The environment variables that the page needs, with values of the session's stack."""
    admin = conninfo_to_dict(stack.settings.admin_dsn("postgres"))
    found = {
        "SINK": str(ROOT),
        **{f"PG{name.upper()}": str(admin[name]) for name in ("host", "port", "user", "password")},
        "SINK_KAFKA": stack.kafka,
        "SINK_REGISTRY": stack.registry,
        "SINK_DEAD_LETTER_KEY": base64.b64encode(bytes(32)).decode(),
        "WRITER_PASSWORD": stack.settings.password("writer"),
        "READER_PASSWORD": stack.settings.password("reader"),
        "CAPTURE_DATABASE_HOST": str(admin["host"]),
        "CAPTURE_DATABASE_PORT": str(admin["port"]),
        "CAPTURE_DATABASE_PASSWORD": stack.settings.password("capture"),
        "CAPTURE_KAFKA": stack.kafka,
        "CAPTURE_REGISTRY": f"{stack.settings.registry}/apis/registry/v3",
        "CAPTURE_HTTP_HOST": "127.0.0.1",
        "CAPTURE_HTTP_PORT": str(ports.any_free(frozenset())),
        "CAPTURE_OFFSETS": str(tmp_path / "offsets.dat"),
    }
    assert found.keys() == guide.variables()
    return found


@pytest.fixture
def private(stack: StackUnderTest, tmp_path: Path) -> dict[str, str]:
    """Variables that install the plugin into a temporary folder, and provide kafka-topics.sh."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "kafka-topics.sh"
    found = stack.stack
    installed = Installer(found.layout, found.versions, os.environ).programs()
    line = shlex.join([str(installed.java), "-cp", f"{installed.kafka}/*", _TOPICS])
    command.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
    command.chmod(0o755)
    site = str(tmp_path / "site")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("SINK_")}
    return {
        **inherited,
        "PATH": os.pathsep.join(
            [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PIP_TARGET": site,
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of --build-isolation
        "PYTHONPATH": site,
    }


@contextmanager
def run_commands(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Run the page's commands; stop their background processes when the block is left."""
    for name, text in guide.files().items():
        (folder / name).write_text(text)
    log = folder / "commands.log"
    with log.open("wb") as stream:
        shell = subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", guide.script()],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        assert shell.wait(_SCRIPT_SECONDS) == 0, log.read_text()
        yield log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        eventually(lambda: not group_members(shell.pid), _STOP_SECONDS)


@pytest.fixture
def temporary_databases(stack: StackUnderTest) -> Iterator[None]:
    """Drop the databases, and the replication slot, which would retain the cluster's log."""
    yield
    with stack.admin("postgres") as admin:
        admin.execute(_DROP_SLOT)
        for name in ("north", "south"):
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.mark.usefixtures("temporary_databases")
def test_guide_copies_rows_between_new_databases(
    stack: StackUnderTest, environment: dict[str, str], private: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    query = "SELECT order_id, customer, amount, currency FROM orders ORDER BY 1"
    with (
        run_commands(folder, {**private, **environment}) as log,
        stack.admin("north") as north,
        stack.admin("south") as south,
    ):

        def arrived() -> list[Any]:
            return south.execute(query).fetchall()

        try:
            eventually(lambda: arrived() == [(1, "c-17", 12.5, "INR")])
            north.execute("INSERT INTO orders VALUES (2, 'c-18', 1, 'eur', now(), 'draft')")
            north.execute("UPDATE orders SET amount = 13, updated_at = now() WHERE id = 1")
            eventually(lambda: arrived() == [(1, "c-17", 13, "INR")])
            north.execute("UPDATE orders SET state = 'cancelled', updated_at = now() WHERE id = 1")
            eventually(lambda: arrived() == [])
        except AssertionError:
            pytest.fail(log.read_text())
