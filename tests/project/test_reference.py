"""The generated reference is complete, and alerts and dead letters have runbooks."""

import inspect
import itertools
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import reference
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from reference_interface import settings
from reference_operation import tables, views

from sink_runner import errors, hookspecs, plugin
from sink_runner.config.sections import Scheduling
from sink_runner.dlq.outbox import unpublished_gauge
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.model.status import Health
from sink_runner.postgres import sqlstates
from sink_runner.runtime.database_metrics import DatabaseMetrics
from sink_runner.runtime.versions import show_versions

from ..support.pages import ROOT

DESCRIPTIONS = tomllib.loads((ROOT / "docs/hooks/descriptions.toml").read_text(encoding="utf-8"))
COMMAND_LINE = (ROOT / "tests/project/command_line.txt").read_text(encoding="utf-8").splitlines()
ALERTS = yaml.safe_load(files("sink_runner.health").joinpath("alerts.yml").read_text())
RUNBOOKS = sorted(path for path in ROOT.glob("docs/runbooks/*.md") if path.stem != "README")
_LOGGED = re.compile(r"\b(?:debug|info|warning|error|exception|critical)\(\s*\"([a-z_]+)\"")
_NOTED = re.compile(r"\blog_errors\([\w.]+, \"([a-z_]+)\"")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: text() for name, text in reference.PAGES.items()}


def sections(page: str) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    parts = re.split(r"^## `(.+)`$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(page: str) -> set[str]:
    """Return the name in the first cell of each row."""
    return set(re.findall(r"^\| \[?`([^`]+)`", page, re.MULTILINE))


def test_settings_are_in_the_reference(pages) -> None:
    found = sections(pages["settings"])
    for key in (setting["key"] for setting in settings()):
        section, _, name = key.rpartition(".")
        text = found[f"[{section}]"] if section else pages["settings"]
        assert f"| `{name}` |" in text, key


def test_commands_and_options_are_in_the_reference(pages) -> None:
    found = sections(pages["commands"])
    for line in COMMAND_LINE:
        words = line.split()
        command = " ".join(itertools.takewhile(re.compile(r"[a-z]").match, words))
        options = [word.partition("/")[0] for word in words if word.startswith("--")]
        assert all(option in found[command] for option in options), line


def test_hooks_are_in_the_reference(pages) -> None:
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("sink_")}
    found = sections(pages["hooks"])
    assert found.keys() == hooks.keys()
    for name, hook in hooks.items():
        assert inspect.cleandoc(hook.__doc__).splitlines()[0].replace("``", "`") in found[name]


def test_plugin_api_is_in_the_reference(pages) -> None:
    found = sections(pages["plugin-api"])
    assert found.keys() == set(plugin.__all__)
    assert not [name for name, text in found.items() if not text.strip()]


def test_metrics_are_in_the_reference(pages, tmp_path: Path) -> None:
    health = Health()
    health.mapping("one")
    unpublished_gauge(health)
    (tmp_path / "policies.json").write_bytes((ROOT / "ranger-policies/policies.json").read_bytes())
    PolicyWatch(ROOT / "ranger-policies").show(health)
    DatabaseMetrics({}, health, {}, Scheduling())
    show_versions(health, ())
    exported = generate_latest(health.registry).decode()
    names = {family.name for family in text_string_to_metric_families(exported)}
    names = {name for name in names if not name.endswith("_created")}
    assert {name.removesuffix("_total") for name in rows(pages["metrics"])} == names


def test_log_events_are_in_the_reference(pages) -> None:
    logged = set()
    for path in ROOT.glob("sink_runner/**/*.py"):
        text = path.read_text(encoding="utf-8")
        logged |= {*_LOGGED.findall(text), *_NOTED.findall(text)}
    assert rows(pages["log-events"]) == logged
    assert DESCRIPTIONS["log_events"].keys() == logged


def test_errors_are_in_the_reference(pages) -> None:
    kinds = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.SinkError)
    }
    assert kinds <= rows(pages["errors"])
    for kind in sqlstates.ErrorKind:
        assert f"| `{kind}` |" in pages["errors"]
    for state in (*sqlstates.STATES, *(code for code, _ in sqlstates.BY_FUNCTION)):
        assert f"| {state} |" in pages["errors"]


def test_tables_are_described() -> None:
    assert DESCRIPTIONS["tables"].keys() == tables().keys()
    assert all(DESCRIPTIONS["tables"].values())


def test_views_are_in_the_reference(pages) -> None:
    sql = (ROOT / "compose/sql/common/80-specification.sql").read_text(encoding="utf-8")
    created = set(re.findall(r"^CREATE OR REPLACE VIEW public\.(\w+)", sql, re.MULTILINE))
    assert DESCRIPTIONS["views"].keys() == created
    assert created == {view.name for view in views()}
    for view in views():
        assert f"### `public.{view.name}`" in pages["tables"]
        (declared,) = re.findall(rf"{view.name}\(\) RETURNS TABLE \(([^)]*)\)", sql)
        assert len(view.columns) == declared.count(",") + 1
        assert all(f"| `{name}` | `{kind}` |" in pages["tables"] for name, kind in view.columns)


def test_make_targets_are_in_the_reference(pages) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rows(pages["make"]) == {f"make {target}" for target in phony.split()}


def test_packages_are_in_the_reference(pages) -> None:
    packages = {path.parent.name for path in ROOT.glob("sink_runner/*/__init__.py")}
    assert packages <= set(re.findall(r"^\| \d+ \| `(\w+)` \| \S", pages["packages"], re.MULTILINE))


def test_alerts_and_dead_letter_classes_have_runbooks() -> None:
    alerts = {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    classes = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.EventError)
    }
    situations = {path.stem for path in RUNBOOKS if path.stem.islower()}
    assert {path.stem for path in RUNBOOKS} == alerts | classes | situations
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    for name in alerts | classes:
        assert f"| [{name}]({name}.md) |" in index
    for name in situations:
        assert f"]({name}.md) |" in index


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_runbook_has_symptom_check_and_remedy(runbook: Path) -> None:
    text = runbook.read_text(encoding="utf-8")
    is_situation = runbook.stem.islower()
    assert is_situation or text.startswith(f"# {runbook.stem}\n")
    last = ["Done when"] if is_situation else []
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Symptom", "Check", "Remedy", *last]
