"""Fixtures of the tests of the stack."""

from pathlib import Path

import pytest

from sink_stack.layout import Layout
from sink_stack.processes import Supervisor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    """An empty home that uses the repository's files."""
    found = Layout(root=ROOT, home=tmp_path / "home", cache=tmp_path / "cache")
    found.make()
    return found


@pytest.fixture
def supervisor(home):
    supervisor = Supervisor(home)
    yield supervisor
    supervisor.stop(*supervisor.names())
