"""The alert rules fire on the runner's own figures when it is in trouble, and only then."""

import operator
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sink_runner.dlq.outbox import unpublished_gauge
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.model.status import Health

ROOT = Path(__file__).parents[3]
GROUPS = yaml.safe_load(files("sink_runner.health").joinpath("alerts.yml").read_text())["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
NOW = 1_800_000_000.0
_COMPARED = {"==": operator.eq, ">": operator.gt, "<": operator.lt}
_OF_PROMETHEUS = {"SinkRunnerDown"}


class Runner:
    """The figures of a runner with one mapping."""

    def __init__(self, policies: Path) -> None:
        self.health = Health(clock=lambda: NOW)
        self.mapping = self.health.mapping("one")
        self.other = self.health.mapping("other")
        self.seconds = 0.0
        self.untold = unpublished_gauge(self.health).labels("smart_citizen", "smart_warehouse")
        PolicyWatch(policies, clock=lambda: self.seconds).show(self.health)

    def well(self) -> None:
        self.mapping.running()
        self.other.running()
        self.mapping.dead_letters(0, 3, 1000)
        self.mapping.committed({}, 0.1, int(NOW * 1000) - 20)
        self.untold.set(0)

    def in_trouble(self) -> None:
        self.mapping.paused("the disk is full")
        self.other.quarantined("its topic does not exist")
        self.mapping.dead_letters(950, 20_000, 50)
        self.mapping.committed({}, 0.1, int(NOW * 1000) - 600_000)
        self.untold.set(3)
        self.seconds = 4000.0

    def fires(self, rule: str) -> bool:
        """Whether a comparison of one figure with a number holds for any of its series."""
        asked = promql.parse(RULES[rule]["expr"])
        compare, bound = _COMPARED[str(asked.op)], asked.rhs.val
        found = list(self._series(asked.lhs))
        assert found, f"nobody tells {asked.lhs}"
        return any(compare(value, bound) for value in found)

    def _series(self, selector: Any) -> Iterator[float]:
        labels = {(one.name, one.value) for one in selector.matchers.matchers}
        page = generate_latest(self.health.registry).decode()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == selector.name and labels <= set(sample.labels.items()):
                    yield sample.value


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "ranger-policies", policies)
    return Runner(policies)


@pytest.mark.parametrize("rule", sorted(RULES.keys() - _OF_PROMETHEUS))
def test_it_fires_in_trouble_and_only_then(runner: Runner, rule: str) -> None:
    runner.well()
    assert not runner.fires(rule)
    runner.in_trouble()
    assert runner.fires(rule)


def test_every_alert_rule_parses_with_summary() -> None:
    for rule in RULES.values():
        assert promql.parse(rule["expr"])
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
