"""The commands: one module each, whose `register` adds a parser to ``sink-runner``.

Other distributions add commands the same way, by an entry point in `GROUP` that names their
own `register(subparsers)`; its parsers set ``run``, a function from the parsed arguments to
an exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..config import ConfigFile, find_file, load
from ..config.database import Database, find_database
from ..config.reader import hint
from ..errors import ConfigError
from ..loading import discovery

GROUP = "sink_runner.commands"

OK = 0
FAILURE = 1
EX_CONFIG = 78


class Subparsers(Protocol):
    """What `argparse.ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, *args: Any, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""


def add_command(
    subparsers: Subparsers, name: str, *, summary: str, teaching: str
) -> argparse.ArgumentParser:
    """Add a command whose --help ends with an example; `summary` is its line in the list."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=teaching,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_option(parser)
    return parser


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Accept --config before the command and after it."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="configuration (default: $SINK_CONFIG, or sink-runner.toml here or in a parent)",
    )


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    for option, text in (
        ("--only", "turn on these plugins and no others; global ones must be named too"),
        ("--without", "turn these plugins off, whatever else turns them on"),
    ):
        parser.add_argument(option, metavar="NAME[,NAME]", action="append", default=[], help=text)


def find_config(args: argparse.Namespace) -> Path | None:
    return getattr(args, "config", None) or find_file(Path.cwd(), os.environ)


def read_config(args: argparse.Namespace) -> ConfigFile:
    """Return the configuration file of this call; raise if there is none."""
    path = find_config(args)
    if path is None:
        raise ConfigError("no sink-runner.toml here or in a parent folder; name one by --config")
    return load(path, os.environ)


def read_plugins(args: argparse.Namespace, file: ConfigFile) -> dict[str, discovery.Plugin]:
    """Return the installed plugins, those that are on loaded, faults recorded on each."""
    plugins = discovery.installed()
    choice = file.plugins().override(file.environ, args.only, args.without)
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


def check_installed(names: Iterable[str], plugins: dict[str, discovery.Plugin]) -> None:
    """Raise ConfigError for a name that no plugin has."""
    for name in {*names} - plugins.keys():
        raise ConfigError(f"plugin {name!r} is not installed{hint(name, plugins)}")


def chosen_databases(databases: Mapping[str, Database], name: str | None) -> list[str]:
    """Return the database of this name, or all; raise ConfigError where it is not configured."""
    if name is None:
        return sorted(databases)
    find_database(databases, name)
    return [name]


def plugins_with_mapping(
    names: Sequence[str], plugins: dict[str, discovery.Plugin]
) -> list[discovery.Plugin]:
    """Return the plugins with these names, or where there is none all that could be loaded.

    Those without a mapping are left out.  Raises ConfigError for a name whose plugin is not
    installed, could not be loaded, is off or has no mapping.
    """
    check_installed(names, plugins)
    chosen = [plugins[name] for name in names]
    usable = discovery.usable(chosen) if chosen else loaded_plugins(plugins.values())
    found = [plugin for plugin in usable if plugin.mapping is not None]
    for name in {*names} - {plugin.name for plugin in found}:
        raise ConfigError(f"plugin {name!r} is off, or has no mapping; see `sink-runner plugins`")
    return found
