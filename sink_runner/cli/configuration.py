"""The configuration and the plugins that a call of a command reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..config import ConfigFile, find_file, load
from ..config.database import Database, find_database
from ..config.reader import hint
from ..errors import ConfigError
from ..loading import discovery
from ..plugin import TableMapping
from .command import remembered


def find_config() -> Path | None:
    path: Path | None = remembered("config")
    return path or find_file(Path.cwd(), os.environ)


def read_config() -> ConfigFile:
    """Return the configuration file of this call; raise ConfigError if there is none."""
    path = find_config()
    if path is None:
        raise ConfigError("no sink-runner.toml here or in a parent folder; name one by --config")
    return load(path, os.environ)


def read_plugins(file: ConfigFile) -> dict[str, discovery.Plugin]:
    """Return the installed plugins; those that are on are loaded, with their faults."""
    plugins = discovery.installed()
    choice = file.plugins().override(
        file.environ, remembered("only", ()), remembered("without", ())
    )
    names = discovery.select(plugins, choice.enabled, choice.disabled)
    discovery.load_selected(plugins, names, file.plugin_tables, file.reader)
    return plugins


def loaded_plugins(plugins: Iterable[discovery.Plugin]) -> list[discovery.Plugin]:
    """Return the plugins that are on and could be loaded; name the others on stderr.

    For commands that only report: they do not run the hooks of a global plugin.
    """
    plugins = list(plugins)
    for plugin in plugins:
        if plugin.errors:
            reason = "; ".join(plugin.errors)
            print(f"sink-runner: plugin {plugin.name!r} is left out: {reason}", file=sys.stderr)
    return [plugin for plugin in plugins if plugin.status is discovery.Status.ON]


def find_plugin(name: str, plugins: Mapping[str, discovery.Plugin]) -> discovery.Plugin:
    """Return the plugin of this name; raise ConfigError unless it is on and could be loaded."""
    check_installed([name], plugins)
    plugin = plugins[name]
    discovery.usable([plugin])
    if plugin.status is not discovery.Status.ON:
        raise ConfigError(f"plugin {name!r} is {plugin.status}; see `sink-runner plugins`")
    return plugin


def check_installed(names: Iterable[str], plugins: Mapping[str, discovery.Plugin]) -> None:
    """Raise ConfigError for a name that no plugin has."""
    for name in sorted({*names} - plugins.keys()):
        raise ConfigError(f"plugin {name!r} is not installed{hint(name, plugins)}")


def chosen_databases(databases: Mapping[str, Database], name: str | None) -> list[str]:
    """Return the database of this name, or all; raise ConfigError if it is not configured."""
    if name is None:
        return sorted(databases)
    find_database(databases, name)
    return [name]


def mappings_of(plugins: Iterable[discovery.Plugin]) -> dict[str, TableMapping]:
    """Return the mappings of these plugins by name."""
    return {plugin.name: plugin.mapping for plugin in plugins if plugin.mapping is not None}


def chosen_mappings(
    names: Sequence[str], plugins: Mapping[str, discovery.Plugin]
) -> dict[str, TableMapping]:
    """Return the mappings of these names, or without names all whose plugin could be loaded.

    Raises ConfigError for a name whose plugin is not installed, could not be loaded, is off or has
    no mapping.
    """
    check_installed(names, plugins)
    chosen = [plugins[name] for name in names]
    found = mappings_of(discovery.usable(chosen) if chosen else loaded_plugins(plugins.values()))
    for name in sorted({*names} - found.keys()):
        raise ConfigError(f"plugin {name!r} is off, or has no mapping; see `sink-runner plugins`")
    return found
