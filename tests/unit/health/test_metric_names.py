"""Names and labels follow Prometheus' guide: https://prometheus.io/docs/practices/naming/."""

import re

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.exported_metrics import export_metrics

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
def families() -> list[Metric]:
    found = list(text_string_to_metric_families(export_metrics()))
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
