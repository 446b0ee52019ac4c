"""All twelve flows with TLS and logins on every connection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ...chaos.search import Search
from .. import demo_deployment, portal_changes, warehouse_changes
from ..people import People
from ..scenario import Scenario
from ..scenario_data import ScenarioData
from ..test_twelve_flows import BATCHES, SETTLE_SECONDS, assert_targets_match
from .secure_stack import SecureStack

pytestmark = pytest.mark.stack

FAMILIES = 40


@pytest.fixture(scope="module")
def scenario(stack: SecureStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    log = tmp_path_factory.mktemp("secure") / "runner.log"
    with demo_deployment.deploy(stack, log, FAMILIES) as deployment:
        data = ScenarioData(
            warehouse=deployment.warehouse, citizen=deployment.citizen, people=People(5)
        )
        yield Scenario(deployment=deployment, data=data)


@pytest.fixture(scope="module")
def matching(scenario: Scenario) -> Scenario:
    """The scenario with matching targets; the second runner uses the other Kafka client."""
    warehouse_changes.insert_initial_schemes(scenario.data)
    with scenario.deployment.runner():
        scenario.deployment.apply_all(SETTLE_SECONDS)
    with scenario.deployment.runner():
        warehouse_changes.make_first_changes(scenario.data)
        portal_changes.make_first_changes(scenario.data)
        assert_targets_match(scenario, "the first changes", full=BATCHES)
    return scenario


def test_twelve_flows_match_with_both_clients(matching: Scenario) -> None:
    """The fixture has compared every target with the specification."""
    assert {report["mapping"] for report in matching.batches} == set(BATCHES)


def test_no_log_or_command_line_contains_secret(stack: SecureStack, matching: Scenario) -> None:
    home, settings = stack.stack.layout.home, stack.settings
    secrets = {f"password of {name}": text for name, text in stack.listeners.passwords.items()}
    secrets |= {f"password of {role}": settings.password(role) for role in ("writer", "reader")}
    search = Search(secrets)
    found = [
        *search.find_in_files(home / "logs"),
        *search.find_in_files(matching.deployment.log.parent),
    ]
    for part in ("kafka", "registry", "postgres", "warehouse", "citizen"):
        running = stack.stack.supervisor.running(part)
        assert running is not None
        found += search.find_in_bytes(part, Path(f"/proc/{running.pid}/cmdline").read_bytes())
    assert not found, "\n".join(map(str, found))
