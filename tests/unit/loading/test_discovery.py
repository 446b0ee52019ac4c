"""Plugins are found, selected and loaded."""

from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from sink_runner.config.reader import SettingsReader
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.loading.discovery import Plugin, Status, runner_fault

HOOKS = "from sink_runner.plugin import hookimpl\n"


def load_plugin(name: str, table: dict[str, Any] | None = None) -> Plugin:
    plugin = discovery.installed()[name]
    discovery.load(plugin, table, SettingsReader({"PIN": "4711"}))
    return plugin


def load_errors(name: str, table: dict[str, Any] | None = None) -> str:
    plugin = load_plugin(name, table)
    assert plugin.module is None
    assert plugin.status is Status.BROKEN
    return "\n".join(plugin.errors)


# -- installed ---------------------------------------------------------------------------------


def test_installed_plugins_are_listed_by_name_without_import(site):
    for name in ("quinces", "apples", "pears"):
        site.mapping(name)
    names = [name for name in discovery.installed() if name in ("quinces", "apples", "pears")]
    assert names == ["apples", "pears", "quinces"]
    assert not any(map(site.was_imported, names))


def test_loaded_plugin_has_distribution_mapping_and_hooks(site):
    site.mapping("apples")
    plugin = load_plugin("apples")
    assert (plugin.status, plugin.errors) == (Status.ON, [])
    assert (plugin.distribution, plugin.version) == ("sink-apples", "1.5")
    assert plugin.mapping is not None
    assert plugin.mapping.source == "north.public.apples"
    assert plugin.hooks == ("sink_mapping",)


def test_plugin_of_other_api_version_is_incompatible(site):
    site.plugin("apples", "raise RuntimeError", group="sink_runner.v2")
    plugin = load_plugin("apples")
    assert plugin.status is Status.INCOMPATIBLE
    assert (
        "made for sink_runner.v2, and this runner has plugin API sink_runner.v1" in plugin.errors[0]
    )
    assert not site.was_imported("apples")


def test_plugin_of_two_api_versions_is_loaded(site):
    site.mapping("apples")
    site.plugin("apples", "raise RuntimeError", group="sink_runner.v2", dist="sink-next")
    assert load_plugin("apples").status is Status.ON


def test_plugin_of_two_distributions_is_refused(site):
    site.mapping("apples")
    site.plugin("apples", "", dist="other-apples")
    assert load_errors("apples") == (
        "two distributions provide it, other-apples 1.5 and sink-apples 1.5: uninstall one"
    )


# -- select ------------------------------------------------------------------------------------

KNOWN = ("apples", "pears")


@pytest.mark.parametrize(
    ("enabled", "disabled", "selected"),
    [
        (["*"], [], {"apples", "pears"}),
        (["*"], ["pears"], {"apples"}),
        (["apples"], [], {"apples"}),
        (["apples"], ["apples"], set()),
        (["*", "apples"], ["apples"], {"pears"}),
        ([], [], set()),
        (["*"], ["something-else"], {"apples", "pears"}),
    ],
)
def test_disabled_takes_precedence_over_enabled(enabled, disabled, selected):
    assert discovery.select(KNOWN, enabled, disabled) == selected


@pytest.mark.parametrize(
    ("enabled", "disabled", "message"),
    [
        (["aples"], [], "enabled plugin 'aples' is not installed; did you mean 'apples'?"),
        (["zzz"], [], "enabled plugin 'zzz' is not installed"),
        (["*"], ["pear"], "disabled plugin 'pear' is not installed; did you mean 'pears'?"),
    ],
)
def test_unknown_plugin_refuses_start(enabled, disabled, message):
    with pytest.raises(ConfigError) as caught:
        discovery.select(KNOWN, enabled, disabled)
    assert str(caught.value) == message


def test_all_unknown_plugins_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        discovery.select(KNOWN, ["aples"], ["pear"])
    assert len(str(caught.value).splitlines()) == 2


# -- load --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nope_nope", "ModuleNotFoundError: No module named 'nope_nope'"),
        ("", "implements no hook: decorate a function with @hookimpl"),
        ("@hookimpl\ndef sink_fliter(event): ...", "unknown hook 'sink_fliter'"),
        ("@hookimpl\ndef sink_filter(evnet): ...", "evnet"),
        ("@hookimpl(wrapper=True)\ndef sink_map(): yield", "sink_map cannot be a wrapper"),
        ("@hookimpl(wrapper=True)\ndef sink_config(): yield", "sink_config cannot be a wrapper"),
        ("@hookimpl(wrapper=True)\ndef sink_write(): yield", "sink_write cannot be a wrapper"),
        ("@hookimpl\ndef sink_mapping(): ...", "sink_mapping must return a TableMapping"),
        ("@hookimpl\ndef sink_mapping(): return {}", "sink_mapping must return a TableMapping"),
        ("@hookimpl\ndef sink_config(): return dict", "must return a frozen dataclass"),
        ("@hookimpl\ndef sink_config(): ...", "must return a frozen dataclass"),
    ],
)
def test_invalid_plugin_is_broken_with_reason(site, code, message):
    site.plugin("apples", HOOKS + code)
    assert message in load_errors("apples")


def test_entry_point_must_not_be_class(site):
    code = f"{HOOKS}\nclass P:\n @hookimpl\n def sink_startup(self): ...\nplugin = P()"
    site.plugin("apples", code, attribute="P")
    site.plugin("pears", code, attribute="plugin")
    assert "the entry point is a class" in load_errors("apples")
    assert load_plugin("pears").hooks == ("sink_startup",)


def test_all_errors_of_mapping_are_reported(site):
    site.mapping("apples", source="apples", target="pears")
    assert len(load_errors("apples").splitlines()) == 2


@pytest.mark.parametrize("name", ["enabled", "disabled"])
def test_plugin_cannot_have_name_of_setting(site, name):
    site.mapping(name)
    assert "choose another" in load_errors(name)


# -- settings ----------------------------------------------------------------------------------

CONFIGURED = """
from dataclasses import dataclass, field
from sink_runner.plugin import hookimpl

@dataclass(frozen=True)
class Settings:
    districts: tuple[int, ...]
    pin: str = field(default="", repr=False)

@hookimpl
def sink_config():
    return Settings
"""


def test_plugin_gets_its_settings_as_dataclass(site):
    site.plugin("apples", CONFIGURED)
    plugin = load_plugin("apples", {"districts": [1, 12], "pin": {"env": "PIN"}})
    assert plugin.config.districts == (1, 12)
    assert plugin.config.pin == "4711"
    assert "4711" not in repr(plugin.config)


def test_wrong_plugin_settings_are_reported_together(site):
    site.plugin("apples", CONFIGURED)
    assert load_errors(
        "apples", {"distrits": 1, "districts": ["secret"], "pin": 99}
    ).splitlines() == [
        "plugins.apples.districts[0] must be an integer, not str",
        "plugins.apples.distrits is unknown; did you mean 'districts'?",
        "plugins.apples.pin must be a string, not int",
    ]


def test_missing_setting_breaks_plugin(site):
    site.plugin("apples", CONFIGURED)
    assert load_errors("apples") == "plugins.apples.districts is missing"


def test_settings_of_plugin_without_settings_break_it(site):
    site.mapping("apples")
    assert "takes no configuration" in load_errors("apples", {})


def test_settings_of_misspelt_plugin_are_refused(site):
    site.mapping("apples")
    with pytest.raises(ConfigError, match="did you mean 'apples'"):
        discovery.load_selected(discovery.installed(), [], {"aples": {}}, SettingsReader())


def test_settings_of_disabled_plugin_are_ignored(site):
    site.mapping("apples")
    plugins = discovery.installed()
    discovery.load_selected(plugins, [], {"apples": {"any": 1}, "unheard-of": {}}, SettingsReader())
    assert plugins["apples"].errors == []


# -- the runner's version ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "met"),
    [
        ("sink-runner>=1.0,<2", True),
        ("sink_runner (>=1,<2)", True),
        ("sink-runner[testing]>=1.4", True),
        ("sink-runner~=1.4", True),
        ("sink-runner~=1.4.0", True),
        ("sink-runner~=1.3.0", False),
        ("sink-runner==1.*", True),
        ("sink-runner==1.4", True),
        ("sink-runner!=1.4.0", False),
        ("sink-runner>1.4", False),
        ("sink-runner<1.10", True),
        ("sink-runner>=2", False),
        ("sink-runner>=2rc1", False),
        ('sink-runner>=9; extra == "testing"', True),
        ("sink-runner", True),
        ("pluggy>=99", True),
        ('sink-runner>=9; python_version < "3"', True),
        ("sink-runner>=one", False),
    ],
)
def test_required_version_of_runner_is_checked(site, requires, met):
    site.distribution("sink-runner", "1.4")
    site.distribution("sink-apples", "1.0", requires=requires)
    dist = PathDistribution(Path(site.folder / "sink_apples-1.0.dist-info"))
    assert (runner_fault(dist) is None) is met


def test_plugin_of_other_runner_is_not_imported(site):
    site.distribution("sink-runner", "1.4")
    site.plugin("apples", "raise RuntimeError", requires="sink-runner>=2,<3")
    assert load_errors("apples") == (
        "requires sink-runner>=2,<3, and this is sink-runner 1.4: install a version of the plugin "
        "for it"
    )


# -- several plugins ---------------------------------------------------------------------------


def load_mappings(site, *directions: tuple[str, str, str]) -> dict[str, Plugin]:
    for name, source, target in directions:
        site.mapping(name, f"{source}.public.t", f"{target}.public.t")
    names = [name for name, _, _ in directions]
    plugins = {name: plugin for name, plugin in discovery.installed().items() if name in names}
    discovery.load_selected(plugins, names, {}, SettingsReader())
    return plugins


def test_equal_source_and_target_are_refused(site):
    plugins = load_mappings(site, ("apples", "a", "b"), ("pears", "a", "b"))
    with pytest.raises(ConfigError) as caught:
        discovery.usable(plugins.values())
    assert str(caught.value).splitlines() == [
        "plugin 'apples': a.public.t -> b.public.t is also mapped by pears",
        "plugin 'pears': a.public.t -> b.public.t is also mapped by apples",
    ]


def test_one_source_may_have_several_targets(site):
    plugins = load_mappings(site, ("apples", "a", "b"), ("pears", "a", "c"))
    assert [plugin.name for plugin in discovery.usable(plugins.values())] == ["apples", "pears"]


def test_two_mappings_may_oppose_each_other(site):
    plugins = load_mappings(site, ("apples", "a", "b"), ("pears", "b", "a"), ("plums", "b", "c"))
    assert len(discovery.usable(plugins.values())) == 3


def test_cycle_of_three_mappings_is_refused_and_named(site):
    plugins = load_mappings(site, ("apples", "a", "b"), ("pears", "b", "c"), ("plums", "c", "a"))
    assert all(plugin.status is Status.BROKEN for plugin in plugins.values())
    assert "the mappings apples, pears, plums form a cycle" in plugins["pears"].errors[0]


def test_disabled_plugin_causes_no_conflict(site):
    for name in ("apples", "pears"):
        site.mapping(name, "a.b.c", "d.e.f")
    plugins = discovery.installed()
    discovery.load_selected(plugins, ["apples"], {}, SettingsReader())
    assert plugins["apples"].errors == []


# -- managers ----------------------------------------------------------------------------------

FILTER = "\n@hookimpl{options}\ndef sink_filter(event): return '{name}'"


def test_chain_calls_owner_then_globals_then_builtins(site):
    site.mapping("apples", code=FILTER.format(options="", name="apples"))
    site.mapping("other", code=FILTER.format(options="", name="other"))
    for name, options in (("zebra", "(tryfirst=True)"), ("yak", ""), ("ant", "")):
        site.plugin(name, HOOKS + FILTER.format(options=options, name=name))
    site.plugin("built-in", HOOKS + FILTER.format(options="", name="built-in"))
    plugins = {name: load_plugin(name) for name in ("apples", "other", "zebra", "yak", "ant")}
    builtin = load_plugin("built-in")
    manager = discovery.manager_for(
        plugins["apples"], plugins.values(), [("built-in", builtin.module)]
    )
    order = manager.hook.sink_filter(event=None, ctx=None)
    assert order == ["zebra", "apples", "ant", "yak", "built-in"]
