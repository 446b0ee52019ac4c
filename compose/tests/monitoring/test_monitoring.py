"""The stack starts, restarts and stops Prometheus and Alertmanager."""

import io
import json
import re
import time
import urllib.request
from pathlib import Path

import pytest

from sink_stack import monitoring, settings, status
from sink_stack.errors import PartDiedError
from sink_stack.monitoring import Monitoring
from sink_stack.progress import Reporter
from sink_stack.stack import Stack

ROOT = Path(__file__).parents[3]
_MISSING_PROGRAM = Path("missing")
_NO_PROGRAMS = monitoring.Programs(
    prometheus=_MISSING_PROGRAM,
    promtool=_MISSING_PROGRAM,
    alertmanager=_MISSING_PROGRAM,
    amtool=_MISSING_PROGRAM,
)


@pytest.fixture
def make(home):
    """Return a function that creates the monitoring services of the test's home on free ports."""

    def make_monitoring(programs=_NO_PROGRAMS, **changes):
        return Monitoring(
            **{
                "layout": home,
                "settings": settings.prepare(home, {}, lambda _: False),
                "programs": programs,
                "rules": ROOT / monitoring.RULES,
                "alertmanager": ROOT / monitoring.FOLDER / "alertmanager.yml",
                **changes,
            }
        )

    return make_monitoring


def eventually(read):
    """Return the result of `read` once it is not empty."""
    deadline = time.monotonic() + 30
    while not (found := read()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def read_data(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)["data"]


def test_monitoring_runs_from_start_to_clean(home, supervisor, monitoring_programs, make):
    services, output = make(monitoring_programs), io.StringIO()
    services.up(supervisor, Reporter(output))
    assert "prometheus is up at http://127.0.0.1:" in output.getvalue()
    groups = read_data(f"{services.url('prometheus')}/api/v1/rules")["groups"]
    assert groups[0]["file"] == str(ROOT / monitoring.RULES)
    alertmanagers_url = f"{services.url('prometheus')}/api/v1/alertmanagers"
    (found,) = eventually(lambda: read_data(alertmanagers_url)["activeAlertmanagers"])
    assert found["url"].startswith(services.url("alertmanager"))

    pids = [supervisor.running(name).pid for name in monitoring.PARTS]
    services.up(supervisor, Reporter(output))
    assert pids == [supervisor.running(name).pid for name in monitoring.PARTS]

    stack = Stack(home, {}, Reporter(output))
    parts = {part.name: part for part in status.parts(stack, stack.settings)}
    assert all(parts[name].up and parts[name].version for name in monitoring.PARTS)
    stack.clean()
    assert not home.home.exists()
    assert not any(supervisor.running(name) for name in monitoring.PARTS)


def test_changed_configuration_restarts_prometheus(supervisor, monitoring_programs, make, tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: []\n")
    make(monitoring_programs, rules=rules).up(supervisor, Reporter(io.StringIO()))
    before = supervisor.running("prometheus").pid
    rules.write_text("groups: [{name: one, rules: []}]\n")
    make(monitoring_programs, rules=rules).up(supervisor, Reporter(io.StringIO()))
    assert supervisor.running("prometheus").pid != before


def test_start_fails_with_invalid_rules(supervisor, monitoring_programs, make, tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: one, rules: [{alert: A, expr: '('}]}]\n")
    with pytest.raises(PartDiedError, match="prometheus ended before it was ready"):
        make(monitoring_programs, rules=rules).up(supervisor, Reporter(io.StringIO()))
    assert not any(supervisor.running(name) for name in monitoring.PARTS)


def test_status_lists_only_started_monitoring(home):
    settings.prepare(home, {}, lambda _: False)
    stack = Stack(home, {}, Reporter(io.StringIO()))
    names = {part.name for part in status.parts(stack, stack.settings)}
    assert not names & set(monitoring.PARTS)


def test_native_configuration_has_no_container_address(make):
    text = make().prometheus_config()
    assert not re.findall(r"^[^#]*\b(?:runner|alertmanager):\d+|/etc/", text, re.MULTILINE)
    assert text.count("127.0.0.1:") == 2
