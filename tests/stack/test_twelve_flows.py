"""All twelve flows on the real stack, compared with the specification's expected targets."""

from collections import Counter

import pytest

from ..oracle import history
from ..oracle.targets import TARGETS
from . import demo_deployment, latency, portal_changes, warehouse_changes
from .deployment import describe_differences
from .people import People
from .scenario import Scenario
from .scenario_data import ScenarioData

pytestmark = pytest.mark.stack

FAMILIES = 200
BATCHES = ("schemes", "golden-records", "profiles", "user-behavior", "feedback")
# `golden-records` reads what `citizens` writes, so it comes later.
EVENTS = (
    "citizens", "golden-records", "profiles", "eligibility-snapshots", "benefit-forecasts",
    "decisions", "alerts", "applications", "documents",
)  # fmt: skip
INVALID_ROWS = Counter(warehouse_changes.INVALID_ROWS) + Counter(portal_changes.INVALID_ROWS)
CAPTURE = ("warehouse", "citizen")
SETTLE_SECONDS = 60


@pytest.fixture(scope="module")
def scenario(stack, tmp_path_factory):
    """The scenario, which the tests of this module continue one after the other."""
    log = tmp_path_factory.mktemp("runner") / "log"
    with demo_deployment.deploy(stack, log, FAMILIES) as deployment:
        data = ScenarioData(
            warehouse=deployment.warehouse, citizen=deployment.citizen, people=People(5)
        )
        yield Scenario(deployment=deployment, data=data)


@pytest.fixture(scope="module")
def first_keys(scenario):
    """Keys of probes and rows, after the targets have matched the specification four times."""
    data = scenario.data
    warehouse_changes.insert_initial_schemes(data)
    with scenario.deployment.runner():
        assert_targets_match(scenario, "the demo data", full=BATCHES)
        keys = latency.probe(data)
        warehouse, portal = (
            warehouse_changes.make_first_changes(data),
            portal_changes.make_first_changes(data),
        )
        assert_targets_match(scenario, "the first changes")
        warehouse_changes.make_second_changes(data, warehouse)
        portal_changes.make_second_changes(data, portal)
        assert_targets_match(scenario, "the second changes")
        portal_changes.make_third_changes(data, portal)
        assert_targets_match(scenario, "a deleted citizen", full=BATCHES)
    return keys, warehouse, portal


def test_twelve_flows_match_within_latency_limits(scenario, first_keys, stack):
    keys, *_ = first_keys
    latencies = dict(latency.measure(scenario.data, keys))
    scenario.report(latencies, stack.stack.layout.home / "scenario.txt")
    slow = {
        flow: seconds
        for flow, seconds in latencies.items()
        if latency.percentile(seconds, 95) > latency.FLOWS[flow].limit
    }
    assert not slow


@pytest.mark.usefixtures("first_keys")
def test_each_broken_rule_is_counted_dead_letter(scenario):
    """Each event counts once, and each batch that reads the row counts it once more."""
    assert scenario.dead_letters() == scenario.rule_counts()
    batch_mappings = {name for name in INVALID_ROWS if name in BATCHES}
    assert {
        name: rows for name, rows in scenario.dead_letters().items() if name not in batch_mappings
    } == {name: rows for name, rows in INVALID_ROWS.items() if name not in batch_mappings}
    assert all(scenario.dead_letters()[name] > INVALID_ROWS[name] for name in batch_mappings)
    assert all("breaks rule '" in error for error in scenario.errors())


@pytest.mark.usefixtures("first_keys")
def test_alert_without_recipient_is_deferred(scenario):
    assert scenario.dead_letters("PARKED")["alerts"] == 1


def test_unmapped_changes_write_nothing(scenario, first_keys):
    _, warehouse, portal = first_keys
    before = scenario.row_writers()
    with scenario.deployment.runner():
        portal_changes.make_unmapped_changes(scenario.data, portal)
        warehouse_changes.make_unmapped_changes(scenario.data, warehouse)
        differences = scenario.settle()
    assert not differences, describe_differences(differences)
    assert scenario.row_writers() == before


def test_batches_replace_capture_during_outage(scenario, first_keys, stack):
    _, warehouse, portal = first_keys
    for part in CAPTURE:
        stack.stop(part)
    warehouse_changes.make_changes_without_capture(scenario.data, warehouse)
    portal_changes.make_changes_without_capture(scenario.data, portal)
    for name in EVENTS:
        scenario.batch(name, "--full", tolerate=INVALID_ROWS[name])
    differences = scenario.differences()
    assert not differences, describe_differences(differences)
    before = targets(scenario)
    stack.revive()
    with scenario.deployment.runner():
        differences = scenario.settle()
    assert not differences, describe_differences(differences)
    assert targets(scenario) == before


def assert_targets_match(
    scenario: Scenario, after: str, *, full: tuple[str, ...] = ("schemes",)
) -> None:
    scenario.deployment.apply_all(SETTLE_SECONDS)
    for name in BATCHES:
        scenario.batch(name, *["--full"] * (name in full), tolerate=INVALID_ROWS[name])
    differences = scenario.settle()
    assert not differences, f"after {after}: {describe_differences(differences)}"


def targets(scenario: Scenario) -> dict[str, list[dict[str, object]]]:
    """Return every row of the targets, without its synced_at."""
    queries = {flow: (target.query, target.in_portal) for flow, target in TARGETS.items()}
    queries["profile_data"] = "SELECT * FROM public.profile_data", True
    queries["eligibility_hints"] = "SELECT * FROM public.eligibility_hints", True
    queries["golden_records"] = "SELECT * FROM public.golden_records", False
    return {
        name: sorted(
            (
                {**row, "synced_at": None}
                for row in history.fetch_rows(scenario.database(in_portal), query)
            ),
            key=str,
        )
        for name, (query, in_portal) in queries.items()
    }
