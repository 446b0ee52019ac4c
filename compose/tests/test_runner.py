"""The sink runner as a part: watched, restarted when plugins change, and reported when it dies."""

import sys

import pytest

from sink_stack import runner
from sink_stack.errors import PartDiedError

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


def test_runner_gets_the_stack_s_variables(home, supervisor):
    supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "127.0.0.1:1"}))
    supervisor.wait_until("runner", lambda: "127.0.0.1:1" in home.log("runner").read_text(), 10)


@pytest.mark.usefixtures("site")
def test_unchanged_plugins_leave_the_runner_alone(home, supervisor):
    assert supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "a"}))
    assert not supervisor.ensure(runner.command(home, WAIT, {"SINK_KAFKA": "a"}))


def test_edited_plugin_makes_the_runner_outdated(site):
    before = runner.plugins_digest()
    (site / "sink_dummy_for_tests.py").write_text("A = 2\n")
    assert runner.plugins_digest() != before


def test_installed_plugin_makes_the_runner_outdated(site):
    before = runner.plugins_digest()
    info = site / "sink_other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nother = sink_other_for_tests\n")
    assert runner.plugins_digest() != before


def test_upgraded_plugin_makes_the_runner_outdated(site):
    before = runner.plugins_digest()
    metadata = site / "sink_dummy-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    assert runner.plugins_digest() != before


def test_runner_that_refuses_its_configuration_is_reported_with_its_words(home, supervisor):
    argv = [sys.executable, "-c", "raise SystemExit('unknown key: tpoic')"]
    supervisor.ensure(runner.command(home, argv, {}))
    with pytest.raises(PartDiedError, match="unknown key: tpoic"):
        runner.wait_until_settled(supervisor, "runner")
