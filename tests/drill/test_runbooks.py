"""Runs the console blocks of the runbooks on a stack with demo data; `make runbooks` calls it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_stack.testing_stack import StackUnderTest

from ..stack import demo_deployment
from ..support import console
from ..support.operator import Operator
from ..support.pages import ROOT

pytestmark = pytest.mark.drill

# The last ones replace a slot, or need the end of what the others did.
PAGES = (
    "docs/runbooks/capture-does-not-start.md",
    "docs/runbooks/lag-grows.md",
    "docs/runbooks/dead-letters-pile-up.md",
    "docs/runbooks/bad-deployment.md",
    "docs/runbooks/schema-change.md",
    "docs/runbooks/key-rotation.md",
    "docs/runbooks/erasure-request.md",
    "docs/runbooks/maintenance-window.md",
    "docs/runbooks/failover.md",
    "docs/runbooks/restored-database.md",
    "docs/runbooks/lost-slot.md",
)
_FAMILIES = 5


@pytest.fixture(scope="module")
def operator(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator of a stack with demo data, whose runner, API and schedule run."""
    folder = tmp_path_factory.mktemp("operator")
    with demo_deployment.deploy(stack, folder / "log", _FAMILIES):
        operator = Operator(stack.stack.layout, folder)
        operator.run("sink-stack up")
        yield operator
        operator.run("sink-stack stop schedule api runner")


@pytest.mark.parametrize("page", PAGES)
def test_runbook_commands_run_as_written(operator: Operator, page: str, tmp_path: Path) -> None:
    environment = {**operator.environment, "USER": "operator"}
    console.run(ROOT / page, tmp_path, environment)
