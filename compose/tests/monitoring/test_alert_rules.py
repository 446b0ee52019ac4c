"""Each alert fires above its threshold and not just below it, by `promtool test rules`."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from sink_stack import monitoring

from .alert_cases import CASES, FIRES, QUIET

ROOT = Path(__file__).parents[3]
RULES = ROOT / monitoring.RULES
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}


@pytest.fixture
def firing(monitoring_programs, tmp_path):
    """The number of series of an alert that fire at a time."""

    def count(alert, series, after):
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

    return count


def test_every_alert_has_a_case():
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", CASES)
def test_alert_fires_above_threshold(firing, alert):
    case = CASES[alert]
    assert firing(alert, {**case.also, **case.fires}, case.after)


@pytest.mark.parametrize("alert", CASES)
def test_alert_is_quiet_below_threshold(firing, alert):
    case = CASES[alert]
    assert not firing(alert, {**case.also, **case.quiet}, case.after)


@pytest.mark.parametrize(("alert", "about"), FIRES)
def test_alert_fires_in_special_case(firing, alert, about):
    case = FIRES[alert, about]
    assert firing(alert, case.fires, case.after)


@pytest.mark.parametrize(("alert", "about"), QUIET)
def test_alert_is_quiet_in_special_case(firing, alert, about):
    case = QUIET[alert, about]
    assert not firing(alert, case.quiet, case.after)


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_has_summary_way_out_and_runbook(alert):
    annotations = ALERTS[alert]["annotations"]
    assert annotations["summary"]
    assert annotations["way_out"]
    assert (ROOT / annotations["runbook"]).stem == alert
    assert (ROOT / annotations["runbook"]).is_file()
