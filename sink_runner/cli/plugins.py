"""``sink-runner plugins``: what is installed, what is on, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ..config import ConfigFile, load
from ..config.reader import Reader, hint, to_toml
from ..config.reference import keys
from ..errors import ConfigError
from ..health.client import Reported, reported_states
from ..loading import discovery
from ..loading.quarantine import select_usable
from ..model.quality_rules import value_checks
from ..plugin import TableMapping
from .command import (
    EX_CONFIG,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    find_config,
    read_plugins,
)
from .config import HIDDEN, describe

TEACHING = """\
state is what the running runner says of a mapping, where [health] gives it a port: running,
paused, stopped or quarantined, with the reason.  A broken plugin is quarantined: the others run.
on and off are what the file, this shell's variables and the options say; a runner that was
started with others is named until it is restarted.

A plugin is off unless [plugins] in sink-runner.toml, SINK_PLUGINS or --only turns it on, and
off whenever [plugins], SINK_PLUGINS_OFF or --without turns it off.  One that is off is not
imported.  The exit code is 78 while anything that is on has a fault.

examples:
  sink-runner plugins
  sink-runner plugins --json
  sink-runner plugins --chain golden-records
  sink-runner plugins --config-of golden-records
"""
_STILL_ON = "on in the running runner, which was started with other settings: restart it"
_NOT_YET_ON = "off in the running runner, which was started with other settings: restart it"


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "plugins",
        summary="list the installed plugins: on, off, broken and why, incompatible",
        teaching=TEACHING,
    )
    add_choice_options(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="the list, for programs")
    what.add_argument("--chain", metavar="NAME", help="every step of one mapping, in order")
    what.add_argument("--config-of", metavar="NAME", help="the keys of [plugins.NAME]")
    parser.set_defaults(run=plugins)


def plugins(args: argparse.Namespace) -> int:
    path = find_config(args)
    file = load(path) if path else ConfigFile(reader=Reader(os.environ))
    installed = read_plugins(args, file)
    if args.chain:
        lines: Iterable[str] = _chain(_loaded(args.chain, installed), installed.values())
    elif args.config_of:
        lines = _config_of(_loaded(args.config_of, installed))
    elif args.json:
        states = _states(installed, file)
        records = [record(plugin, states.get(plugin.name)) for plugin in installed.values()]
        lines = [json.dumps(records, indent=2)]
    else:
        lines = table(list(installed.values()), _states(installed, file))
    for line in lines:
        print(line)
    return EX_CONFIG if any(plugin.errors for plugin in installed.values()) else OK


def _states(installed: Mapping[str, discovery.Plugin], file: ConfigFile) -> Mapping[str, Reported]:
    """Return what the running runner reports, else which plugins would be quarantined."""
    blocked = select_usable(installed.values()).quarantined
    expected = {name: Reported("quarantined", reason) for name, reason in blocked.items()}
    reported = reported_states(file.health())
    if reported is None:
        return expected
    return {**expected, **reported, **dict(_differing(installed, reported))}


def _differing(
    installed: Mapping[str, discovery.Plugin], reported: Mapping[str, Reported]
) -> Iterator[tuple[str, Reported]]:
    """Yield the mappings that the runner has on and these settings have off, or the reverse."""
    for name, plugin in installed.items():
        if plugin.status is discovery.Status.OFF and name in reported:
            yield name, Reported(reported[name].state, _STILL_ON)
        if plugin.mapping and plugin.mapping.streaming and name not in reported:
            yield name, Reported("not running", _NOT_YET_ON)


def record(plugin: discovery.Plugin, reported: Reported | None = None) -> dict[str, object]:
    return {
        "name": plugin.name,
        "status": plugin.status,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "source": plugin.mapping and plugin.mapping.source,
        "target": plugin.mapping and plugin.mapping.target,
        "events": plugin.mapping and plugin.mapping.streaming,
        "hooks": plugin.hooks,
        "errors": plugin.errors,
        "state": reported and reported.state,
        "reason": (reported and reported.reason) or None,
    }


def table(
    plugins: list[discovery.Plugin], states: Mapping[str, Reported] = MappingProxyType({})
) -> Iterator[str]:
    if not plugins:
        yield "no plugin is installed; `sink-runner new` writes one"
    heads = [(plugin.name, str(plugin.status), plugin.version) for plugin in plugins]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    for plugin, head in zip(plugins, heads, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(head, widths, strict=True)]
        yield "  ".join([*cells, _way(plugin)]).rstrip()
        own = [
            hook for hook in plugin.hooks if hook not in ("sink_mapping", "sink_config", "sink_api")
        ]
        if own:
            yield f"    hooks: {', '.join(own)}"
        yield from (f"    fault: {error}" for error in plugin.errors)
        reported = states.get(plugin.name)
        if reported and (reported.state != "running" or reported.reason) and not plugin.errors:
            yield f"    {reported}"


def _way(plugin: discovery.Plugin) -> str:
    if plugin.mapping is not None:
        way = f"{plugin.mapping.source} -> {plugin.mapping.target}"
        return way if plugin.mapping.streaming else f"{way} (batch only)"
    if plugin.http_api is not None:
        return f"HTTP API: {', '.join(plugin.http_api.operations)}"
    return "every mapping" if plugin.status is discovery.Status.ON else ""


def _loaded(name: str, installed: dict[str, discovery.Plugin]) -> discovery.Plugin:
    if name not in installed:
        raise ConfigError(f"plugin {name!r} is not installed{hint(name, installed)}")
    plugin = installed[name]
    discovery.usable([plugin])
    if plugin.status is not discovery.Status.ON:
        raise ConfigError(f"plugin {name!r} is {plugin.status}, so it is not imported")
    return plugin


def _chain(owner: discovery.Plugin, installed: Iterable[discovery.Plugin]) -> Iterator[str]:
    if owner.mapping is None:
        why = (
            "is global: it joins the chain of every mapping"
            if owner.is_global
            else "has no mapping"
        )
        raise ConfigError(f"plugin {owner.name!r} {why}")
    on = [plugin for plugin in installed if plugin.status is discovery.Status.ON]
    manager = discovery.manager_for(owner, on)
    yield f"{owner.name}: {owner.mapping.source} -> {owner.mapping.target}"
    for step, (does, hook) in enumerate(steps(owner.mapping), start=1):
        if hook is None:
            yield f"{step:3}  {'(built in)':24} {does}"
            continue
        # pluggy calls the last of its list first.
        names = [impl.plugin_name for impl in reversed(getattr(manager.hook, hook).get_hookimpls())]
        yield f"{step:3}  {hook:24} {', '.join(names) or '-'}"


def steps(mapping: TableMapping) -> Iterator[tuple[str, str | None]]:
    """Yield what happens to an event, in order: the runner's own steps and the hooks."""
    yield "drop what would go back to where it came from", None
    yield "", "sink_filter"
    if mapping.rules:
        yield f"check the row: {', '.join(rule.name for rule in mapping.rules)}", None
    yield f"read {len(mapping.columns)} declared columns: source, convert, default", None
    if ruled := [column.name for column in mapping.columns if value_checks(column)]:
        yield f"check, here and after sink_map: {', '.join(ruled)}", None
    yield "", "sink_map"
    yield "mask by policy, cut to max_length", None
    yield "", "sink_mask"
    if looked_up := [column.name for column in mapping.columns if column.lookup]:
        yield f"look up, once for the batch: {', '.join(looked_up)}", None
    yield "", "sink_resolve_conflict"
    yield "", "sink_write"
    version = f" by {mapping.conflict.version}" if mapping.conflict.version else ""
    yield f"write, {mapping.conflict.strategy.value}{version}", None
    yield "", "sink_batch_committed"
    yield "", "sink_event_failed"


def _config_of(plugin: discovery.Plugin) -> Iterator[str]:
    if plugin.config_class is None:
        yield f"{plugin.name} takes no configuration"
        return
    for key in keys(plugin.config_class, f"plugins.{plugin.name}"):
        yield from describe(key)
        value = _value_of(plugin.config, key.path.split(".")[2:])
        yield f"    {key.path} = {HIDDEN if key.secret else to_toml(value)}"


def _value_of(config: Any, path: list[str]) -> Any:
    for name in path:
        config = config.get(name) if isinstance(config, dict) else getattr(config, name)
    return config
