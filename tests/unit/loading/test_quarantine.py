"""A plugin that cannot be loaded is left out; the others, and the commands, go on without it."""

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


def selected(*names: str):
    plugins = {name: one for name, one in discovery.installed().items() if name in names}
    discovery.load_selected(plugins, names, {}, SettingsReader())
    return plugins


@pytest.mark.parametrize("how", BROKEN)
def test_broken_mapping_plugin_leaves_the_others(site, how):
    site.mapping("apples")
    site.plugin("ant", MASK)
    site.plugin("pears", BROKEN[how])
    plugins = selected("apples", "ant", "pears")
    found = select_usable(plugins.values())
    assert [plugin.name for plugin in found.usable] == ["ant", "apples"]
    assert [*found.quarantined] == ["pears"]
    assert found.quarantined["pears"]


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
    plugins = selected("apples", "ant")
    found = select_usable(plugins.values())
    assert found.usable == []
    assert "takes part in every mapping" in found.quarantined["apples"]
    assert "'ant'" in found.quarantined["apples"]
    with pytest.raises(ConfigError, match="plugin 'apples': global plugin 'ant' cannot be loaded"):
        require_usable(plugins["apples"], plugins.values())


def test_plugin_without_source_may_be_global(site):
    site.distribution("sink-gone", "1.0", "[sink_runner.v1]\ngone = sink_gone_for_good\n")
    plugins = selected("gone")
    assert plugins["gone"].errors
    assert may_be_global(plugins["gone"])


@pytest.mark.parametrize(
    "line",
    [
        "def sink_mapping(): ...",
        "    def sink_mapping(self): ...",
        "sink_mapping = hookimpl(made)",
        "from .mapping import sink_mapping",
        "from .mapping import (\n    other,\n    sink_mapping,\n)",
        '@hookimpl(specname="sink_mapping")\ndef made(): ...',
    ],
)
def test_mapping_is_recognised_without_an_import(site, line):
    site.plugin("pears", f"import nope_nope\n{line}\n")
    (plugin,) = selected("pears").values()
    assert not may_be_global(plugin)


def test_mapping_in_another_module_of_its_package(site):
    package = site.folder / "sink_packed"
    package.mkdir()
    (package / "__init__.py").write_text("import nope_nope\nfrom .hooks import *\n")
    (package / "hooks.py").write_text(MAPPING)
    (package / "masks.py").write_text("import nope_nope\n" + MASK)
    points = "[sink_runner.v1]\npacked = sink_packed\nmasks = sink_packed.masks\n"
    site.distribution("sink-packed", "1.0", points)
    plugins = selected("packed", "masks")
    assert not may_be_global(plugins["packed"])
    assert may_be_global(plugins["masks"])


# -- commands ----------------------------------------------------------------------------------


@pytest.fixture
def one_broken(site, configured):
    site.mapping("apples")
    site.nightly("nightly")
    site.plugin("pears", BROKEN["import"])
    configured("apples", "pears", "nightly")


def test_plugins_reports_the_state_and_the_reason(one_broken, call):
    code, out, _ = call("plugins", "--json")
    (found,) = [one for one in json.loads(out) if one["name"] == "pears"]
    assert code == 78
    assert (found["status"], found["state"]) == ("broken", "quarantined")
    assert found["reason"] == "ModuleNotFoundError: No module named 'nope_nope'"


def test_plugins_shows_what_a_global_fault_blocks(site, configured, call):
    site.mapping("apples")
    site.plugin("ant", "import nope_nope\n" + MASK)
    configured("apples", "ant")
    _, out, _ = call("plugins")
    assert "    quarantined: global plugin 'ant' cannot be loaded" in out


def test_schedules_of_the_others_are_listed(one_broken, call):
    code, out, _ = call("schedule", "--json")
    assert [one["mapping"] for one in json.loads(out)["schedules"]] == ["nightly"]
    assert code == 78


def test_policies_works_without_the_broken_plugin(site, configured, call):
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
def test_command_goes_on_to_its_databases(one_broken, call, command):
    """The test's databases cannot be reached: the command fails there, and not at the plugin."""
    _, _, err = call(*command)
    said = [line for line in err.splitlines() if "plugin 'pears' is left out" not in line]
    assert said
    assert not [line for line in said if "nope_nope" in line]


def test_run_refuses_if_no_mapping_can_be_loaded(site, configured, call):
    site.plugin("pears", BROKEN["import"])
    configured("pears")
    code, _, err = call("run")
    assert code == 78
    assert "plugin 'pears': ModuleNotFoundError" in err


def test_strict_run_refuses_a_broken_plugin(one_broken, call):
    code, out, err = call("run", "--strict")
    assert (code, out) == (78, "")
    assert err == "sink-runner: plugin 'pears': ModuleNotFoundError: No module named 'nope_nope'\n"


def test_broken_mapping_itself_cannot_be_named(one_broken, call):
    for command in (
        ("batch", "pears"),
        ("quality", "pears"),
        ("schema", "check", "--mapping", "pears"),
    ):
        code, _, err = call(*command)
        assert code == 78
        assert "nope_nope" in err


def test_check_reports_quarantine_without_starting(one_broken, call):
    code, out, _ = call("run", "--check", "--without", "nightly")
    assert code == 0
    assert out == (
        "quarantined: plugin 'pears': ModuleNotFoundError: No module named 'nope_nope'\n"
    )


def test_check_refuses_what_run_refuses(site, configured, call):
    site.plugin("pears", BROKEN["import"])
    configured("pears")
    assert call("run", "--check")[0] == 78
