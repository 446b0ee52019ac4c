"""The runner as a part of the stack: restarts after changes, and reports of failures."""

import io
import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from sink_stack import health, orphans, runner, settings, status
from sink_stack.errors import PartDiedError, StackError
from sink_stack.layout import Layout
from sink_stack.progress import Reporter
from sink_stack.stack import Options, Stack

WAIT = [sys.executable, "-c", "import os, time; print(os.environ['SINK_KAFKA']); time.sleep(60)"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path with one installed plugin."""
    folder = tmp_path / "site"
    info = folder / "sink_dummy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-dummy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\ndummy = sink_dummy_for_tests\n")
    (folder / "sink_dummy_for_tests.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_runner_gets_variables_of_stack(home, supervisor):
    supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "127.0.0.1:1"}))
    supervisor.wait_until("runner", lambda: "127.0.0.1:1" in home.log("runner").read_text(), 10)


@pytest.mark.usefixtures("site")
def test_unchanged_plugins_keep_runner(home, supervisor):
    assert supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "a"}))
    assert not supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "a"}))


def test_edited_plugin_makes_the_runner_outdated(site):
    before = runner.fingerprint()
    (site / "sink_dummy_for_tests.py").write_text("A = 2\n")
    assert runner.fingerprint() != before


def test_installed_plugin_makes_the_runner_outdated(site):
    before = runner.fingerprint()
    info = site / "sink_other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nother = sink_other_for_tests\n")
    assert runner.fingerprint() != before


def test_upgraded_plugin_makes_the_runner_outdated(site):
    before = runner.fingerprint()
    metadata = site / "sink_dummy-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    assert runner.fingerprint() != before


@pytest.mark.parametrize("variable", ["SINK_PLUGINS_OFF", "SINK_MASK_KEY"])
def test_changed_shell_makes_the_runner_outdated(home, monkeypatch, variable):
    monkeypatch.delenv(variable, raising=False)
    before = runner.command(home, WAIT, {}).digests()
    monkeypatch.setenv(variable, "citizens")
    after = runner.command(home, WAIT, {}).digests()
    assert after.keys() - before.keys() == {f"variable {variable}"}


def test_variable_that_configuration_reads_makes_runner_outdated(tmp_path, monkeypatch):
    (tmp_path / "sink-runner.toml").write_text('bootstrap = { env = "OUR_KAFKA" }\n')
    layout = Layout(root=tmp_path, home=tmp_path, cache=tmp_path)
    monkeypatch.setenv("OUR_KAFKA", "a:1")
    before = runner.command(layout, WAIT, {}).digests()
    monkeypatch.setenv("OUR_KAFKA", "b:1")
    assert runner.command(layout, WAIT, {}).digests() != before


def test_variables_of_stack_override_shell(home, monkeypatch):
    monkeypatch.setenv("SINK_KAFKA", "elsewhere:1")
    command = runner.command(home, WAIT, {"SINK_KAFKA": "127.0.0.1:1"})
    assert command.env["SINK_KAFKA"] == "127.0.0.1:1"


def test_runner_report_quotes_refused_configuration(home, supervisor):
    argv = [sys.executable, "-c", "raise SystemExit('unknown key: tpoic')"]
    supervisor.ensure(runner.command(home, argv, {}))
    with pytest.raises(PartDiedError, match="unknown key: tpoic"):
        runner.wait_until_settled(supervisor, "runner")


# -- a new configuration is checked before the running process is stopped -----------------------

PROGRAM = """#!{python}
import pathlib, sys, time
refusal = pathlib.Path({refusal!r})
if "--check" in sys.argv:
    print(refusal.read_text(), file=sys.stderr)
    sys.exit(78 if refusal.read_text() else 0)
time.sleep(60)
"""


class FakeStack:
    """A stack without servers, whose runner refuses its configuration if the test says so."""

    def __init__(self, home, folder):
        settings.prepare(home, {}, lambda _: False)
        self.completed = io.StringIO()
        self.stack = Stack(home, {}, Reporter(self.completed))
        self.refusal = folder / "refusal"
        self.program = folder / "sink-runner"
        self.program.write_text(PROGRAM.format(python=sys.executable, refusal=str(self.refusal)))
        self.program.chmod(0o755)
        self.allow()

    def allow(self):
        self.refusal.write_text("")

    def refuse(self):
        self.refusal.write_text("sink-runner: unknown key: tpoic")

    def up(self, *more):
        self.stack.up_sinks({"runner": [str(self.program), "run", *more]})

    @property
    def pid(self):
        running = self.stack.supervisor.running("runner")
        return running and running.pid


@pytest.fixture
def fake_stack(home, tmp_path, monkeypatch):
    monkeypatch.setattr(health, "_STARTED_SECONDS", 0.1)
    monkeypatch.setattr(runner, "_SETTLED_SECONDS", 0.2)
    fake = FakeStack(home, tmp_path)
    yield fake
    fake.stack.down()


def test_invalid_configuration_keeps_running_runner(fake_stack):
    fake_stack.up()
    before = fake_stack.pid
    assert before
    fake_stack.refuse()
    with pytest.raises(StackError, match=r"unknown key: tpoic(.|\n)*the running one goes on"):
        fake_stack.up("--only", "other")
    assert fake_stack.pid == before
    fake_stack.allow()
    fake_stack.up("--only", "other")
    assert fake_stack.pid not in (None, before)


def test_invalid_configuration_starts_no_runner(fake_stack):
    fake_stack.refuse()
    with pytest.raises(StackError, match="unknown key: tpoic"):
        fake_stack.up()
    assert fake_stack.pid is None


def test_up_to_date_runner_is_not_checked(fake_stack):
    fake_stack.up()
    fake_stack.refuse()
    fake_stack.up()
    assert fake_stack.pid


def test_up_prints_reason_of_restart(fake_stack, monkeypatch):
    fake_stack.up()
    monkeypatch.setenv("SINK_PLUGINS_OFF", "citizens")
    fake_stack.up()
    assert "restarting runner: variable SINK_PLUGINS_OFF is new" in fake_stack.completed.getvalue()


def test_up_prints_removed_plugin(site, fake_stack):
    fake_stack.up()
    before = fake_stack.pid
    shutil.rmtree(site / "sink_dummy-1.0.dist-info")
    fake_stack.up()
    assert "restarting runner: plugin dummy is gone" in fake_stack.completed.getvalue()
    assert fake_stack.pid not in (None, before)


def test_runner_that_exits_soon_is_not_up(fake_stack, monkeypatch):
    """It is alive at the first check, when its mappings have not started yet."""
    monkeypatch.setattr(health, "_STARTED_SECONDS", 5)
    fake_stack.program.write_text(
        f"#!{sys.executable}\nimport sys, time\n"
        "if '--check' not in sys.argv: time.sleep(1); sys.exit('the table is gone')\n"
    )
    with pytest.raises(PartDiedError, match="the table is gone"):
        fake_stack.up()
    assert "runner is up" not in fake_stack.completed.getvalue()
    assert fake_stack.pid is None


def test_restart_of_unknown_part_names_known_ones(fake_stack):
    with pytest.raises(StackError, match=r"unknown part runer; parts: .*runner, schedule"):
        fake_stack.stack.restart(["runer"], Options())


def test_restart_with_invalid_configuration_keeps_runner(fake_stack):
    fake_stack.up()
    before = fake_stack.pid
    fake_stack.refuse()
    with pytest.raises(StackError, match="unknown key: tpoic"):
        fake_stack.stack.restart(["runner"], Options(runner=[str(fake_stack.program), "run"]))
    assert fake_stack.pid == before


# -- states of the mappings --------------------------------------------------------------------

STATES = {
    "apples": {"state": "running", "since": "2026-01-01T00:00:00+00:00"},
    "pears": {"state": "quarantined", "since": "x", "reason": "topic 'pears' does not exist"},
    "plums": {"state": "stopped", "since": "x", "reason": "more dead letters than the budget"},
}


@pytest.fixture
def readyz(fake_stack):
    """A fake /readyz of the runner, at the port of the stack's settings."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"ready": False, "mappings": STATES}).encode()
            self.send_response(503)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    port = int(fake_stack.stack.environment()["SINK_HEALTH_PORT"])
    server = HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("readyz")
def test_up_names_the_mappings_that_do_not_run(fake_stack):
    fake_stack.up()
    completed = fake_stack.completed.getvalue()
    assert "runner is up" in completed
    assert "mapping pears is quarantined: topic 'pears' does not exist" in completed
    assert "mapping plums is stopped: more dead letters than the budget" in completed
    assert "apples" not in completed


@pytest.mark.usefixtures("readyz")
def test_status_shows_quarantined_and_stopped_mappings(fake_stack):
    found = json.loads(status.as_json(fake_stack.stack))["mappings"]
    assert {name: one["state"] for name, one in found.items()} == {
        name: one["state"] for name, one in STATES.items()
    }
    printed = io.StringIO()
    status.show(fake_stack.stack, Console(file=printed, width=200))
    assert "mappings: 1 of 3 running" in printed.getvalue()
    assert "mapping pears is quarantined: topic 'pears' does not exist" in printed.getvalue()
    assert status.broken(fake_stack.stack.settings) == ["pears", "plums"]


def test_status_without_a_runner_names_no_mapping(fake_stack):
    assert json.loads(status.as_json(fake_stack.stack))["mappings"] == {}
    assert status.broken(fake_stack.stack.settings) == []


# -- plugins whose folder is removed -----------------------------------------------------------


def test_plugin_without_its_folder_is_orphan(site, tmp_path):
    assert "sink-dummy" not in orphans.orphaned()  # not editable: it has no folder
    folder = tmp_path / "plug ins" / "dummy"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    origin = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    (site / "sink_dummy-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    assert "sink-dummy" not in orphans.orphaned()
    (folder / "pyproject.toml").unlink()
    folder.rmdir()
    assert "sink-dummy" in orphans.orphaned()


def test_other_distributions_are_never_orphans(site, tmp_path):
    info = site / "sink_dummy-1.0.dist-info"
    (info / "entry_points.txt").write_text("[console_scripts]\ndummy = dummy:main\n")
    origin = {"url": (tmp_path / "gone").as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    assert "sink-dummy" not in orphans.orphaned()
