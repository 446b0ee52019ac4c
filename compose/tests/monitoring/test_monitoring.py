"""Prometheus and Alertmanager as parts of the stack."""

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
_NO_PROGRAM = Path("missing")
_NO_PROGRAMS = monitoring.Programs(
    prometheus=_NO_PROGRAM, promtool=_NO_PROGRAM, alertmanager=_NO_PROGRAM, amtool=_NO_PROGRAM
)


@pytest.fixture
def make(home):
    """A `Monitoring` of the home, on ports of its own."""

    def made(programs=_NO_PROGRAMS, **changed):
        return Monitoring(
            **{
                "layout": home,
                "settings": settings.prepare(home, {}, lambda _: False),
                "programs": programs,
                "rules": ROOT / monitoring.RULES,
                "alertmanager": ROOT / monitoring.FOLDER / "alertmanager.yml",
                **changed,
            }
        )

    return made


def eventually(read):
    """What `read` returns once it is not empty."""
    bound = time.monotonic() + 30
    while not (found := read()):
        assert time.monotonic() < bound
        time.sleep(0.1)
    return found


def read(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)["data"]


def test_monitoring_runs_from_start_to_clean(home, supervisor, monitoring_programs, make):
    made, printed = make(monitoring_programs), io.StringIO()
    made.up(supervisor, Reporter(printed))
    assert "prometheus is up at http://127.0.0.1:" in printed.getvalue()
    groups = read(f"{made.url('prometheus')}/api/v1/rules")["groups"]
    assert groups[0]["file"] == str(ROOT / monitoring.RULES)
    known = f"{made.url('prometheus')}/api/v1/alertmanagers"
    (found,) = eventually(lambda: read(known)["activeAlertmanagers"])
    assert found["url"].startswith(made.url("alertmanager"))

    pids = [supervisor.running(name).pid for name in monitoring.PARTS]
    made.up(supervisor, Reporter(printed))
    assert pids == [supervisor.running(name).pid for name in monitoring.PARTS]

    stack = Stack(home, {}, Reporter(printed))
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


def test_invalid_rules_stop_the_start(supervisor, monitoring_programs, make, tmp_path):
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
