"""Alert rules and dashboards name only metrics and labels that the code exports."""

import pytest

from .queries import exported_metrics, find_unknown
from .test_alert_rules import ALERTS


@pytest.fixture(scope="module")
def exported():
    return exported_metrics()


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_names_only_exported_metrics(alert, exported):
    assert find_unknown(ALERTS[alert]["expr"], exported) == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("sink_lag_minutes > 1", ["sink_lag_minutes is not exported"]),
        ('sink_lag_seconds{table="one"}', ["sink_lag_seconds has no label table"]),
        ("sum(rate(sink_events[5m]))", ["sink_events is not exported"]),
        ("sink_events_total * -(1 + sink_none)", ["sink_none is not exported"]),
        ("max_over_time(max(sink_none)[1h:1m])", ["sink_none is not exported"]),
        (
            'sum by (le) (rate(sink_batch_seconds_bucket{mapping=~"$mapping"}[$__rate_interval]))',
            [],
        ),
    ],
)
def test_unknown_metric_or_label_is_found(expression, expected, exported):
    assert find_unknown(expression, exported) == expected
