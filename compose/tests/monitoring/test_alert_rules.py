"""Each alert fires above its threshold and not just below it, by `promtool test rules`."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from sink_stack import monitoring

from .alert_cases import CASES, FIRING_CASES, QUIET_CASES

ROOT = Path(__file__).parents[3]
RULES = ROOT / monitoring.RULES
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}


@pytest.fixture
def is_firing(monitoring_programs, tmp_path):
    """Return a function: whether exactly one series of an alert fires at a time."""

    def fires(alert, series, after):
        tests = tmp_path / "tests.yml"
        query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
        test = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [
                        {"series": name, "values": values} for name, values in series.items()
                    ],
                    "promql_expr_test": [
                        {
                            "expr": query,
                            "eval_time": after,
                            "exp_samples": [{"labels": "{}", "value": 1}],
                        }
                    ],
                }
            ],
        }
        tests.write_text(json.dumps(test))
        completed = subprocess.run(
            [monitoring_programs.promtool, "test", "rules", tests],
            capture_output=True,
            text=True,
            check=False,
        )
        output = completed.stdout + completed.stderr
        assert completed.returncode == 0 or "got:" in output, output
        return completed.returncode == 0

    return fires


def test_every_alert_has_a_case():
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", CASES)
def test_alert_fires_above_threshold(is_firing, alert):
    case = CASES[alert]
    assert is_firing(alert, {**case.common, **case.firing}, case.after)


@pytest.mark.parametrize("alert", CASES)
def test_alert_is_quiet_below_threshold(is_firing, alert):
    case = CASES[alert]
    assert not is_firing(alert, {**case.common, **case.quiet}, case.after)


@pytest.mark.parametrize(("alert", "description"), FIRING_CASES)
def test_alert_fires_in_further_case(is_firing, alert, description):
    case = FIRING_CASES[alert, description]
    assert is_firing(alert, {**case.common, **case.firing}, case.after)


@pytest.mark.parametrize(("alert", "description"), QUIET_CASES)
def test_alert_is_quiet_in_further_case(is_firing, alert, description):
    case = QUIET_CASES[alert, description]
    assert not is_firing(alert, {**case.common, **case.quiet}, case.after)


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_has_summary_way_out_and_runbook(alert):
    annotations = ALERTS[alert]["annotations"]
    assert annotations["summary"]
    assert annotations["way_out"]
    assert (ROOT / annotations["runbook"]).stem == alert
    assert (ROOT / annotations["runbook"]).is_file()
