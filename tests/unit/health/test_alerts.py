"""The alert rules fire on the metrics of a runner with failures, and not on a healthy one."""

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
_COMPARISONS = {"==": operator.eq, ">": operator.gt, "<": operator.lt}
# Rates and sums need Prometheus: compose/tests/monitoring evaluates all rules.
_OF_PROMETHEUS = {
    "SinkRunnerDown",
    "SinkPausedByOperator",
    "SinkConnectorDown",
    "SinkSlotGrowth",
    "SinkBatchFailed",
    "SinkBatchLate",
    "SinkBatchOverSla",
    "SinkReconcileDifferent",
    "SinkReconcileOld",
    "SinkDeadLetters",
    "SinkDeadLetterQueueLarge",
    "SinkManyWaiting",
    "SinkFailureRate",
    "SinkFailureRateElevated",
    "SinkLatencyHigh",
    "SinkVolumeDrop",
    "SinkVolumeAboveEstimate",
}


class Runner:
    """The metrics of a runner with two mappings."""

    def __init__(self, policies: Path) -> None:
        self.health = Health(clock=lambda: NOW)
        self.first = self.health.mapping("first")
        self.second = self.health.mapping("second")
        self.seconds = 0.0
        self.unpublished = unpublished_gauge(self.health).labels("smart_citizen", "smart_warehouse")
        PolicyWatch(policies, clock=lambda: self.seconds).show(self.health)

    def set_healthy(self) -> None:
        self.first.running()
        self.second.running()
        self.first.dead_letters(0, 3, 1000)
        self.first.committed({}, 0.1, int(NOW * 1000) - 20)
        self.unpublished.set(0)

    def set_failing(self) -> None:
        self.first.paused("the disk is full")
        self.second.quarantined("its topic does not exist")
        self.first.dead_letters(950, 20_000, 50)
        self.first.lag.note_read({0: 1}, NOW - 600)
        self.unpublished.set(3)
        self.seconds = 4000.0

    def is_firing(self, rule: str) -> bool:
        """Return whether the metric of the rule passes its threshold for any label."""
        expression = promql.parse(RULES[rule]["expr"])
        if str(expression.op) == "unless":  # a person paused the mapping; no one has here
            expression = expression.lhs
        compare, bound = _COMPARISONS[str(expression.op)], expression.rhs.val
        values = list(self._series(expression.lhs))
        assert values, f"no metric matches {expression.lhs}"
        return any(compare(value, bound) for value in values)

    def _series(self, selector: Any) -> Iterator[float]:
        labels = {(label.name, label.value) for label in selector.matchers.matchers}
        exposition = generate_latest(self.health.registry).decode()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == selector.name and labels <= set(sample.labels.items()):
                    yield sample.value


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "ranger-policies", policies)
    return Runner(policies)


@pytest.mark.parametrize("rule", sorted(RULES.keys() - _OF_PROMETHEUS))
def test_alert_fires_only_on_failure(runner: Runner, rule: str) -> None:
    runner.set_healthy()
    assert not runner.is_firing(rule)
    runner.set_failing()
    assert runner.is_firing(rule)


def test_every_alert_rule_parses_with_summary() -> None:
    for rule in RULES.values():
        assert promql.parse(rule["expr"])
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
