"""Find plugins, decide which are on, load those, and build one plugin manager per mapping.

A plugin that is off is not imported. A fault of a plugin is recorded on it, so that the others can
run: `quarantine.select_usable` leaves it out, `usable` raises every fault at once.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .. import hookspecs
from ..config.reader import SettingsReader, hint
from ..errors import ConfigError, PluginError
from ..plugin import PROJECT, HttpApi, TableMapping
from .mapping_checks import mapping_cycles, mapping_faults, name_faults, shared_candidates

FAMILY = "sink_runner.v"
GROUP = f"{FAMILY}1"
"""The entry-point group; the plugin API's version is part of its name."""

RUNNER = "sink-runner"

RESERVED = frozenset({"enabled", "disabled", "*"})


class Status(enum.StrEnum):
    """State of an installed plugin."""

    ON = "on"
    OFF = "off"
    BROKEN = "broken"
    INCOMPATIBLE = "incompatible"


@dataclass(slots=True, eq=False, kw_only=True)
class Plugin:
    """One installed plugin.  One that is off, or incompatible, is never imported."""

    name: str
    entry_points: tuple[EntryPoint, ...]
    """One, unless several distributions claim the name."""
    status: Status = Status.OFF
    module: object | None = field(default=None, repr=False)
    """What is registered with pluggy: usually a module."""
    mapping: TableMapping | None = field(default=None, repr=False)
    http_api: HttpApi | None = field(default=None, repr=False)
    config: Any = field(default=None, repr=False)
    config_class: type[Any] | None = None
    hooks: tuple[str, ...] = ()
    errors: list[str] = field(default_factory=list)

    @property
    def is_global(self) -> bool:
        """Whether the hooks of this loaded plugin join every mapping."""
        return self.mapping is None and self.http_api is None

    @property
    def _dist(self) -> Distribution | None:
        """None for a plugin that no distribution provides, as in a test."""
        return self.entry_points[0].dist if self.entry_points else None

    @property
    def distribution(self) -> str:
        return self._dist.name if self._dist else ""

    @property
    def version(self) -> str:
        return self._dist.version if self._dist else ""

    def fail(self, reason: str) -> None:
        if self.status is not Status.INCOMPATIBLE:
            self.status = Status.BROKEN
        self.errors.append(reason)


# -- find and choose ---------------------------------------------------------------------------


def installed() -> dict[str, Plugin]:
    """Return the installed plugins by name, in name order, importing none of them."""
    found: dict[str, dict[str, list[EntryPoint]]] = defaultdict(lambda: defaultdict(list))
    groups = [group for group in entry_points().groups if group.startswith(FAMILY)]
    # entry_points() hides the duplicates that editable installs leave on sys.path; two
    # distributions that claim one name are not duplicates, and `load` refuses them.
    for group in groups:
        for ep in entry_points(group=group):
            found[ep.name][group].append(ep)
    plugins = {}
    for name, claims in sorted(found.items()):
        status = Status.OFF if GROUP in claims else Status.INCOMPATIBLE
        eps = claims[GROUP if GROUP in claims else max(claims)]
        plugins[name] = Plugin(name=name, entry_points=tuple(eps), status=status)
    return plugins


def select(names: Iterable[str], enabled: Iterable[str], disabled: Iterable[str]) -> set[str]:
    """Return the names that are on: the enabled ones (``*``: all) without the disabled ones.

    An enabled name that is not installed is an error. A disabled one is an error if it resembles an
    installed plugin: that plugin would run although you meant to disable it.
    """
    known, on, off = set(names), set(enabled), set(disabled)
    faults = [
        f"enabled plugin {name!r} is not installed{hint(name, known)}"
        for name in sorted(on - known - {"*"})
    ]
    faults += [
        f"disabled plugin {name!r} is not installed{close}"
        for name in sorted(off - known)
        if (close := hint(name, known))
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    return (known if "*" in on else on) - off


# -- load --------------------------------------------------------------------------------------


def load(
    plugin: Plugin, table: Mapping[str, Any] | None = None, reader: SettingsReader | None = None
) -> None:
    """Import and check one plugin, recording every fault on it instead of raising.

    `table` is the plugin's own table of the configuration, None if it has none.
    """
    try:
        _check_claims(plugin)
        module = plugin.entry_points[0].load()
        pm = _make_manager(plugin, module)
        plugin.hooks = tuple(sorted(caller.name for caller in pm.get_hookcallers(module) or ()))
        plugin.mapping = _load_mapping(plugin, pm)
        plugin.http_api = _load_http_api(plugin, pm)
        plugin.config_class = _load_config_class(plugin, pm)
        plugin.config = _read_config(plugin, table, reader or SettingsReader())
    except PluginError as exc:
        plugin.fail(exc.reason)
    except ConfigError as exc:
        for line in str(exc).splitlines():
            plugin.fail(line)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - a third party's import may raise anything
        plugin.fail(f"{type(exc).__name__}: {exc}")
    else:
        plugin.module, plugin.status = module, Status.ON


def load_selected(
    plugins: Mapping[str, Plugin],
    names: Iterable[str],
    tables: Mapping[str, Mapping[str, Any]],
    reader: SettingsReader,
) -> None:
    """Load the named plugins, then check each against the others."""
    for name in sorted(tables.keys() - plugins.keys()):
        if close := hint(name, plugins):
            raise ConfigError(f"[plugins.{name}]: no such plugin is installed{close}")
    for name in sorted(names):
        load(plugins[name], tables.get(name), reader)
    check_together(plugin for plugin in plugins.values() if plugin.status is Status.ON)


def check_together(plugins: Iterable[Plugin]) -> None:
    """Record on each plugin the conflicts of its mapping or routes with those of others."""
    plugins = list(plugins)
    mappings = {plugin: plugin.mapping for plugin in plugins if plugin.mapping is not None}
    by_name = {plugin.name: plugin for plugin in mappings}
    owners_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for plugin, mapping in mappings.items():
        owners_of[mapping.source, mapping.target].append(plugin.name)
    for (source, target), owners in owners_of.items():
        for name in owners if len(owners) > 1 else ():
            others = ", ".join(sorted(set(owners) - {name}))
            by_name[name].fail(f"{source} -> {target} is also mapped by {others}")
    _check_operations(plugins)
    declared = {plugin.name: mapping for plugin, mapping in mappings.items()}
    for table, names in shared_candidates(declared):
        for name in names:
            others = ", ".join(sorted(set(names) - {name}))
            by_name[name].fail(
                f"shares the candidate table sink.{table} with {others}: names that differ in - "
                "and _ alone can't both have candidates; rename one entry point"
            )
    edges = {tables: owners[0] for tables, owners in owners_of.items()}
    for tables in mapping_cycles(edges):
        members = [edges[pair] for pair in zip(tables, [*tables[1:], tables[0]], strict=True)]
        path = " -> ".join([*tables, tables[0]])
        for name in members:
            by_name[name].fail(
                f"the mappings {', '.join(members)} form a cycle, {path}: changes would "
                "circulate for ever; only two mappings may oppose each other"
            )


def _check_operations(plugins: Iterable[Plugin]) -> None:
    owners: dict[str, list[Plugin]] = defaultdict(list)
    for plugin in plugins:
        for operation in plugin.http_api.operations if plugin.http_api else ():
            owners[operation].append(plugin)
    for operation, claims in owners.items():
        for plugin in claims if len(claims) > 1 else ():
            plugin.fail(f"{operation} is declared by {', '.join(one.name for one in claims)}")


def usable(plugins: Iterable[Plugin]) -> list[Plugin]:
    """Return the plugins that are on; if anything enabled has a fault, raise all of them."""
    plugins = list(plugins)
    faults = [f"plugin {plugin.name!r}: {error}" for plugin in plugins for error in plugin.errors]
    if faults:
        raise ConfigError("\n".join(faults))
    return [plugin for plugin in plugins if plugin.status is Status.ON]


def streaming(plugins: Iterable[Plugin]) -> dict[str, TableMapping]:
    """Return the mappings that read events, of the plugins that are on."""
    return {
        plugin.name: plugin.mapping
        for plugin in plugins
        if plugin.status is Status.ON and plugin.mapping is not None and plugin.mapping.streaming
    }


def _check_claims(plugin: Plugin) -> None:
    if plugin.name in RESERVED:
        raise PluginError(plugin.name, "the name is a key of [plugins]; choose another")
    if plugin.status is Status.INCOMPATIBLE:
        group = plugin.entry_points[0].group
        raise PluginError(
            plugin.name,
            f"is made for {group}, and this runner has plugin API {GROUP}: upgrade one of them",
        )
    dists = [ep.dist for ep in plugin.entry_points]
    if len(dists) > 1:
        both = " and ".join(sorted(f"{d.name} {d.version}" for d in dists if d))
        raise PluginError(plugin.name, f"two distributions provide it, {both}: uninstall one")
    if dists[0] and (fault := runner_fault(dists[0])):
        raise PluginError(plugin.name, fault)


def runner_fault(dist: Distribution) -> str | None:
    """Return why the installed runner is not one that `dist` requires, None if it is.

    pip checks this when it installs the plugin, but not when the runner is upgraded later.
    """
    try:
        installed_version = version(RUNNER)
    except PackageNotFoundError:
        return None  # run from a source tree: there is no version to compare with
    for text in dist.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return f"has a requirement that pip cannot read, {text!r}: correct its metadata"
        if canonicalize_name(requirement.name) != RUNNER:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # wanted by the plugin's tests, not by the plugin
        if not requirement.specifier.contains(installed_version, prereleases=True):
            return (
                f"requires {text}, and this is {RUNNER} {installed_version}: install a version of "
                "the plugin for it"
            )
    return None


def _make_manager(plugin: Plugin, module: object) -> pluggy.PluginManager:
    if inspect.isclass(module):
        raise PluginError(plugin.name, "the entry point is a class; point it at an instance")
    pm = new_manager()
    pm.register(module, plugin.name)
    pm.check_pending()
    if not pm.get_hookcallers(module):
        raise PluginError(plugin.name, "implements no hook: decorate a function with @hookimpl")
    # Hooks are frozen into plain functions, so a wrapper around one would never be called.
    for hook in pm.get_hookcallers(module) or ():
        if any(impl.wrapper or impl.hookwrapper for impl in hook.get_hookimpls()):
            raise PluginError(plugin.name, f"{hook.name} cannot be a wrapper")
    return pm


def _load_mapping(plugin: Plugin, pm: pluggy.PluginManager) -> TableMapping | None:
    if not pm.hook.sink_mapping.get_hookimpls():
        return None
    # pluggy drops a None result, so a forgotten return leaves an empty list.
    (mapping,) = pm.hook.sink_mapping() or (None,)
    if not isinstance(mapping, TableMapping):
        raise PluginError(plugin.name, "sink_mapping must return a TableMapping")
    if faults := [*name_faults(plugin.name), *mapping_faults(mapping)]:
        raise ConfigError("\n".join(f"sink_mapping: {fault}" for fault in faults))
    return mapping


def _load_http_api(plugin: Plugin, pm: pluggy.PluginManager) -> HttpApi | None:
    if not pm.hook.sink_api.get_hookimpls():
        return None
    (http_api,) = pm.hook.sink_api() or (None,)
    if not isinstance(http_api, HttpApi):
        raise PluginError(plugin.name, "sink_api must return an HttpApi")
    # A plugin with only routes does not stop mappings if it cannot be loaded.  So it must not have
    # hooks that mappings need.
    others = set(plugin.hooks) - {"sink_api", "sink_config"}
    if plugin.mapping is None and others:
        raise PluginError(
            plugin.name,
            f"has sink_api and no mapping, so it cannot have {', '.join(sorted(others))}: put "
            "hooks for every mapping into a plugin of their own",
        )
    return http_api


def _load_config_class(plugin: Plugin, pm: pluggy.PluginManager) -> type[Any] | None:
    if not pm.hook.sink_config.get_hookimpls():
        return None
    (cls,) = pm.hook.sink_config() or (None,)
    if not (inspect.isclass(cls) and dataclasses.is_dataclass(cls)) or not _is_frozen(cls):
        raise PluginError(
            plugin.name, "sink_config must return a frozen dataclass, the class and not an instance"
        )
    return cls


def _is_frozen(cls: Any) -> bool:
    return bool(cls.__dataclass_params__.frozen)


def _read_config(plugin: Plugin, table: Mapping[str, Any] | None, reader: SettingsReader) -> Any:
    where = f"plugins.{plugin.name}"
    if plugin.config_class is not None:
        return reader.read(plugin.config_class, table or {}, where)
    if table is not None:
        raise PluginError(plugin.name, f"[{where}] is set, but the plugin takes no configuration")
    return None


# -- managers ----------------------------------------------------------------------------------


def new_manager() -> pluggy.PluginManager:
    pm = pluggy.PluginManager(PROJECT)
    pm.add_hookspecs(hookspecs)
    return pm


def manager_for(
    owner: Plugin, others: Iterable[Plugin], builtins: Iterable[tuple[str, object]] = ()
) -> pluggy.PluginManager:
    """Return a manager of `owner`, the global plugins among `others`, and the built-ins.

    pluggy calls the last registered first: the owner, the global plugins by name, the built-ins,
    unless a hook declares ``tryfirst`` or ``trylast``.
    """
    pm = new_manager()
    for name, module in builtins:
        pm.register(module, name)
    for plugin in sorted(others, key=lambda plugin: plugin.name, reverse=True):
        if plugin.is_global:
            pm.register(plugin.module, plugin.name)
    pm.register(owner.module, owner.name)
    return pm
