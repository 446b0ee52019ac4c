"""A plugin that cannot be loaded is quarantined; other plugins and commands work without it."""

import json
from pathlib import Path

import pytest

from sink_runner.config.reader import SettingsReader
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.loading.quarantine import may_be_global, require_usable, select_usable

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("configured")

HOOKS = "from sink_runner.plugin import hookimpl\n"
MASK = HOOKS + "@hookimpl\ndef sink_mask(row): return row\n"
MAPPING = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(source="a.b.c", target="d.e.f", key=("id",), conflict=source_wins(),
                        columns=(Column("id"),))
"""
BROKEN = {
    "import": "import nope_nope\n" + MAPPING,
    "syntax": MAPPING + "def broken(:\n",
    "exit": "import sys; sys.exit(3)\n" + MAPPING,
    "panic": "raise type('Panic', (BaseException,), {})\n" + MAPPING,
    "hook": MAPPING + "@hookimpl\ndef sink_unheard_of(event): ...\n",
    "argument": MAPPING + "@hookimpl\ndef sink_filter(nothing_known): ...\n",
    "mapping": MAPPING.replace("return TableMapping", "return dict"),
    "raises": MAPPING.replace("    return TableMapping", "    1 / 0\n    return TableMapping"),
    "undeclared key": MAPPING.replace('key=("id",)', 'key=("nope",)'),
}


def load_plugins(*names: str):
    plugins = {name: plugin for name, plugin in discovery.installed().items() if name in names}
    discovery.load_selected(plugins, names, {}, SettingsReader())
    return plugins


@pytest.mark.parametrize("cause", BROKEN)
def test_broken_mapping_does_not_affect_others(site, cause):
    site.mapping("apples")
    site.plugin("ant", MASK)
    site.plugin("pears", BROKEN[cause])
    plugins = load_plugins("apples", "ant", "pears")
    selection = select_usable(plugins.values())
    assert [plugin.name for plugin in selection.usable] == ["ant", "apples"]
    assert [*selection.quarantined] == ["pears"]
    assert selection.quarantined["pears"]


@pytest.mark.parametrize(
    "code",
    [
        "import nope_nope\n" + MASK,
        MASK + "def broken(:\n",
        "# def sink_mapping(): is in another plugin\nimport nope_nope\n" + MASK,
    ],
)
def test_broken_global_plugin_quarantines_every_mapping(site, code):
    site.mapping("apples")
    site.plugin("ant", code)
    plugins = load_plugins("apples", "ant")
    selection = select_usable(plugins.values())
    assert selection.usable == []
    assert "takes part in every mapping" in selection.quarantined["apples"]
    assert "'ant'" in selection.quarantined["apples"]
    with pytest.raises(ConfigError, match="plugin 'apples': global plugin 'ant' cannot be loaded"):
        require_usable(plugins["apples"], plugins.values())


def test_plugin_without_source_may_be_global(site):
    site.distribution("sink-missing", "1.0", "[sink_runner.v1]\nmissing = sink_missing\n")
    plugins = load_plugins("missing")
    assert plugins["missing"].errors
    assert may_be_global(plugins["missing"])


@pytest.mark.parametrize(
    "line",
    [
        "def sink_mapping(): ...",
        "    def sink_mapping(self): ...",
        "sink_mapping = hookimpl(mapping)",
        "from .mapping import sink_mapping",
        "from .mapping import (\n    other,\n    sink_mapping,\n)",
        '@hookimpl(specname="sink_mapping")\ndef mapping(): ...',
    ],
)
def test_mapping_is_recognised_without_import(site, line):
    site.plugin("pears", f"import nope_nope\n{line}\n")
    (plugin,) = load_plugins("pears").values()
    assert not may_be_global(plugin)


def test_mapping_in_module_of_package_is_recognised(site):
    package = site.folder / "sink_packed"
    package.mkdir()
    (package / "__init__.py").write_text("import nope_nope\nfrom .hooks import *\n")
    (package / "hooks.py").write_text(MAPPING)
    (package / "masks.py").write_text("import nope_nope\n" + MASK)
    points = "[sink_runner.v1]\npacked = sink_packed\nmasks = sink_packed.masks\n"
    site.distribution("sink-packed", "1.0", points)
    plugins = load_plugins("packed", "masks")
    assert not may_be_global(plugins["packed"])
    assert may_be_global(plugins["masks"])


# -- commands ----------------------------------------------------------------------------------


@pytest.fixture
def broken_plugin(site, configured):
    site.mapping("apples")
    site.nightly("nightly")
    site.plugin("pears", BROKEN["import"])
    configured("apples", "pears", "nightly")


def test_plugins_command_reports_quarantine_with_reason(broken_plugin, call):
    code, out, _ = call("plugins", "--json")
    (record,) = [record for record in json.loads(out) if record["name"] == "pears"]
    assert code == 78
    assert (record["status"], record["state"]) == ("broken", "quarantined")
    assert record["reason"] == "ModuleNotFoundError: No module named 'nope_nope'"


def test_plugins_command_reports_broken_global_plugin(site, configured, call):
    site.mapping("apples")
    site.plugin("ant", "import nope_nope\n" + MASK)
    configured("apples", "ant")
    _, out, _ = call("plugins")
    assert "    quarantined: global plugin 'ant' cannot be loaded" in out


def test_schedules_of_other_plugins_are_listed(broken_plugin, call):
    code, out, _ = call("schedule", "--json")
    assert [schedule["mapping"] for schedule in json.loads(out)["schedules"]] == ["nightly"]
    assert code == 78


def test_policies_command_works_without_broken_plugin(site, configured, call):
    site.mapping("apples")
    site.plugin("pears", BROKEN["import"])
    configured("apples", "pears", more=f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n')
    left_out = "sink-runner: plugin 'pears' is left out: ModuleNotFoundError: No module named"
    for command in (("policies", "check", "--json"), ("policies", "show", "--all", "--json")):
        code, out, err = call(*command)
        assert (code, err) == (0, f"{left_out} 'nope_nope'\n")
    assert {line["mapping"] for line in json.loads(out)} == {"apples"}


@pytest.mark.parametrize(
    "command", [("quality",), ("batch", "apples"), ("schema", "check"), ("schedule", "--list")]
)
def test_command_continues_without_broken_plugin(broken_plugin, call, command):
    """It fails at the databases, which are unreachable, and not at the plugin."""
    _, _, err = call(*command)
    errors = [line for line in err.splitlines() if "plugin 'pears' is left out" not in line]
    assert errors
    assert not [line for line in errors if "nope_nope" in line]


def test_run_needs_a_loadable_mapping(site, configured, call):
    site.plugin("pears", BROKEN["import"])
    configured("pears")
    code, _, err = call("run")
    assert code == 78
    assert "plugin 'pears': ModuleNotFoundError" in err


def test_strict_run_refuses_broken_plugin(broken_plugin, call):
    code, out, err = call("run", "--strict")
    assert (code, out) == (78, "")
    assert err == "sink-runner: plugin 'pears': ModuleNotFoundError: No module named 'nope_nope'\n"


def test_command_for_broken_mapping_fails(broken_plugin, call):
    for command in (
        ("batch", "pears"),
        ("quality", "pears"),
        ("schema", "check", "--mapping", "pears"),
    ):
        code, _, err = call(*command)
        assert code == 78
        assert "nope_nope" in err


def test_check_reports_quarantine_without_starting(broken_plugin, call):
    code, out, _ = call("run", "--check", "--without", "nightly")
    assert code == 0
    assert out == (
        "quarantined: plugin 'pears': ModuleNotFoundError: No module named 'nope_nope'\n"
    )


def test_check_refuses_what_run_refuses(site, configured, call):
    site.plugin("pears", BROKEN["import"])
    configured("pears")
    assert call("run", "--check")[0] == 78
