"""Names and labels follow Prometheus' guide: https://prometheus.io/docs/practices/naming/."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sink_stack import layout

from sink_runner.config.sections import Scheduling
from sink_runner.dlq.outbox import unpublished_gauge
from sink_runner.loading import discovery
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.model.batch import Batch, Oldest
from sink_runner.model.status import Health
from sink_runner.runtime.database_metrics import DatabaseMetrics
from sink_runner.runtime.versions import show_versions

ROOT = Path(__file__).parents[3]
PROMTOOL = [
    *map(str, layout.find(os.environ).programs.glob("prometheus-*/usr/bin/promtool")),
    *filter(None, [shutil.which("promtool")]),
][:1]
LABELS = {
    *("mapping", "outcome", "stage", "step", "status", "error_class"),
    *("database", "source", "table", "type", "action", "rule", "column"),
    *("mode", "count", "slot", "plugin", "version", "python"),
}
"""Each has few values: names of what is configured, and members of closed sets."""
NOT_BASE_UNITS = re.compile(
    r"_(ms|millis\w*|micro\w*|nano\w*|minutes?|hours?|days?|kb|mb|gb|kib|mib|kilo\w*|mega\w*|percent)(_|$)"
)
TYPES = re.compile(r"_(gauge|counter|histogram|summary|metric)(_|$)")


@pytest.fixture(scope="module")
def exported() -> str:
    """The metrics of a runner, each with a series."""
    health = Health()
    mapping = health.mapping("orders")
    mapping.committed({"written": 1}, 0.1, 1_000)
    mapping.settled({"replayed": 1})
    mapping.time_steps({"write": 0.1})
    mapping.time_events(Batch(oldest=Oldest(1_000, 1_001), taken=1.1))
    mapping.dead_letters(0, 0, 1)
    unpublished_gauge(health).labels("citizen", "north").set(0)
    PolicyWatch(ROOT / "ranger-policies").show(health)
    metrics = DatabaseMetrics({}, health, {}, Scheduling())
    for query in (*metrics._target, *metrics._source):
        query.gauge.report("citizen", [(*("x" for _ in query.gauge._labels), 1)])
    show_versions(health, discovery.installed().values())
    return generate_latest(health.registry).decode()


@pytest.fixture(scope="module")
def families(exported: str) -> list[Metric]:
    found = list(text_string_to_metric_families(exported))
    return [family for family in found if not family.name.endswith("_created")]


def test_every_metric_is_described_and_prefixed(families: list[Metric]) -> None:
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"sink(_[a-z]+)+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.samples, family.name


def test_suffix_follows_the_type(families: list[Metric]) -> None:
    for family in families:
        exported = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert exported <= {f"{family.name}_total", f"{family.name}_created"}, family.name
        else:
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket")), family.name
        assert not TYPES.search(family.name), family.name


def test_units_are_base_units(families: list[Metric]) -> None:
    for family in families:
        assert not NOT_BASE_UNITS.search(family.name), family.name
        if "timestamp" in family.name:
            assert family.name.endswith("_timestamp_seconds"), family.name
        if "age" in family.name.split("_") or "latency" in family.name:
            assert family.name.endswith("_seconds"), family.name
        if family.name.endswith("_info"):
            assert {sample.value for sample in family.samples} == {1}, family.name


def test_histograms_of_time_reach_five_minutes(families: list[Metric]) -> None:
    times = [
        family
        for family in families
        if family.type == "histogram" and family.name.endswith("_seconds")
    ]
    assert len(times) == 3
    for family in times:
        bounds = {float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")}
        assert {0.01, 1.0, 10.0, 60.0, 300.0} <= bounds, family.name


def test_labels_have_few_values(families: list[Metric]) -> None:
    for family in families:
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} <= LABELS, family.name


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed; `make monitoring` fetches it")
def test_promtool_finds_no_fault(exported: str) -> None:
    command = [*PROMTOOL, "check", "metrics"]
    done = subprocess.run(command, input=exported, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
