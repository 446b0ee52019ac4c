"""A reload restarts the runners one after the other, if the settings can be used."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.control.reload import ReloadWatch
from sink_runner.model.status import Health
from sink_runner.runtime.control_link import ControlLink

from ...support.waits import eventually

pytestmark = pytest.mark.postgres


ROOT = Path(__file__).parents[3]


class Runner:
    """The link of one runner, whose process is not replaced."""

    def __init__(self, control: Any, name: str, fault: str = "") -> None:
        self.health, self.stop, self.fault = Health(), threading.Event(), fault
        self.reload = ReloadWatch(name, self.stop, lambda: self.fault)
        self.link: ControlLink = control.link(name, self.health, self.reload)
        self.link.turn()
        self.start()

    def start(self) -> None:
        for name in ("apples", "pears"):
            self.health.mapping(name).running()
        self.link.turn()


def test_runner_follows_each_reload_once(control: Any) -> None:
    one = Runner(control, "host:1")
    assert not one.stop.is_set()
    code, out, _ = control("reload")
    assert (code, out) == (0, "requested of host:1\n")
    one.link.turn()
    assert one.stop.is_set()
    assert one.reload.is_due
    assert not Runner(control, "host:2").stop.is_set()


def test_signal_ends_a_runner_that_restarts(control: Any) -> None:
    one = Runner(control, "host:1")
    control("reload")
    one.link.turn()
    one.reload.cancel()
    assert one.stop.is_set()
    assert not one.reload.is_due


def test_runners_restart_one_after_the_other(control: Any) -> None:
    one, two = Runner(control, "host:1"), Runner(control, "host:2")
    control("reload")
    one.link.turn()
    two.link.turn()
    assert (one.stop.is_set(), two.stop.is_set()) == (True, False)
    one.link.close()
    two.link.turn()
    assert not two.stop.is_set()
    Runner(control, "host:1")
    two.link.turn()
    assert two.stop.is_set()


def test_faulty_settings_are_refused(control: Any) -> None:
    one = Runner(control, "host:1", "kafka.bootstrap is missing")
    control("reload", "--as", "ada")
    with capture_logs() as logs:
        one.link.turn()
        one.link.turn()
    assert [(log["event"], log["reason"]) for log in logs] == [("reload_refused", one.fault)]
    assert not one.stop.is_set()
    (row,) = control.rows(
        "SELECT requested_by, taken_by, outcome, detail FROM sink.control_request"
    )
    assert [*row.values()] == ["ada", "host:1", "refused", one.fault]


def test_reload_prints_runners_as_json(control: Any) -> None:
    Runner(control, "host:1")
    assert json.loads(control("reload", "--json")[1]) == {"runners": ["host:1"]}


def test_process_executes_its_command_line_again(control: Any) -> None:
    """A process has none of the plugins of these tests, so a real mapping runs."""
    config = control.config.read_text().replace(
        '["apples", "pears", "plums"]', '["golden-records"]'
    )
    config = config.replace("databases.south", "databases.smart_citizen")
    config = config.replace("databases.north", "databases.smart_warehouse")
    policies = f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n'
    control.config.write_text(config + policies)
    log, states = control.config.with_name("log"), "SELECT runner FROM sink.mapping_status"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "sink_runner", "run", "--config", str(control.config)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_until(lambda: control.rows(states), process, log)
        control("reload")
        wait_until(lambda: "reload_followed" in log.read_text(), process, log)
        wait_until(lambda: control.rows(f"{states} WHERE state = 'ended'"), process, log)
        wait_until(lambda: control.rows(f"{states} WHERE state <> 'ended'"), process, log)
        (row,) = control.rows("SELECT DISTINCT runner FROM sink.mapping_status")
        assert row["runner"].endswith(f":{process.pid}")
    finally:
        process.terminate()
        process.wait(60)


def wait_until(condition: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    eventually(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, log.read_text()
