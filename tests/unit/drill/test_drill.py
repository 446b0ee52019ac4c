"""The drill knows every alert, and shortens only durations of the rules."""

import re

import pytest
from sink_stack import monitoring

from tests.drill.__main__ import CONDITIONS, known_alerts
from tests.drill.rules import shorten
from tests.support.pages import ROOT


def test_drill_causes_every_alert() -> None:
    assert CONDITIONS.keys() == set(known_alerts())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("for: 2m", "for: 1000ms"),
        ("keep_firing_for: 1h", "keep_firing_for: 30000ms"),
        ("rate(a[5m]) > 0.01", "rate(a[2500ms]) > 0.01"),
        ("increase(a[1h] offset 1d)", "increase(a[30000ms] offset 720000ms)"),
        ("a > 3600", "a > 3600"),
        ("predict_linear(a[30m], 4 * 3600)", "predict_linear(a[15000ms], 4 * 3600)"),
    ],
)
def test_only_durations_are_shortened(rule: str, expected: str) -> None:
    assert shorten(rule) == expected


def test_no_duration_of_the_rules_is_left() -> None:
    rules = shorten((ROOT / monitoring.RULES).read_text(encoding="utf-8"))
    assert not re.findall(r"(?:\[|for: |offset )\d+[smhd]\b", rules)
