"""The parts that the status lists, without a running stack."""

import io
import sys

import pytest
from rich.console import Console

from sink_stack import airflow, settings, status
from sink_stack.processes import Command
from sink_stack.progress import Reporter
from sink_stack.stack import Stack


@pytest.fixture
def stack(home):
    settings.prepare(home, {}, lambda _: False)
    stack = Stack(home, {}, Reporter(io.StringIO()))
    yield stack
    stack.down()


def names(stack):
    return {part.name for part in status.parts(stack, stack.settings)}


def test_scheduler_is_a_part(stack):
    assert "schedule" in names(stack)
    assert not names(stack) & set(airflow.PARTS)


def test_airflow_parts_take_place_of_schedule(stack):
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    stack.supervisor.start(Command(name="airflow-api", argv=argv, cwd=stack.layout.home))
    assert names(stack) > set(airflow.PARTS)
    assert "schedule" not in names(stack)
    versions = {part.name: part.version for part in status.parts(stack, stack.settings)}
    assert versions["airflow-api"] == airflow.version(stack.layout)


def test_airflow_is_stopped_with_the_stack(stack):
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    for name in airflow.PARTS:
        stack.supervisor.start(Command(name=name, argv=argv, cwd=stack.layout.home))
    stack.down()
    assert not [name for name in airflow.PARTS if stack.supervisor.running(name)]


def test_status_names_address_of_console(stack):
    console = Console(file=io.StringIO(), width=200)
    status.show(stack, console)
    address = f"http://127.0.0.1:{stack.settings.port('api')}/console"
    assert address in console.file.getvalue()
