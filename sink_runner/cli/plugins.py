"""``sink-runner plugins``: what is installed, what is on, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from ..config import ConfigFile, load
from ..config.reader import Reader, to_toml
from ..config.reference import keys
from ..errors import ConfigError
from ..health.client import Reported, read_states
from ..loading import discovery
from ..loading.quarantine import select_usable
from ..model.quality_rules import value_checks
from ..plugin import TableMapping
from .arguments import json_option, plugin_options
from .command import EX_CONFIG, OK, Command
from .config import HIDDEN, describe
from .configuration import find_config, find_plugin, read_plugins

_DECLARING = ("sink_mapping", "sink_config", "sink_api")
"""Hooks that declare what a plugin is, and take no part in the processing of an event."""
_STILL_ON = "on in the running runner, which was started with other settings: restart it"
_NOT_YET_ON = "off in the running runner, which was started with other settings: restart it"


@click.command(cls=Command, exclusive=("--json", "--chain", "--config-of"))
@plugin_options
@json_option
@click.option("--chain", metavar="NAME", help="Print each step of one mapping, in order.")
@click.option("--config-of", metavar="NAME", help="Print the settings of [plugins.NAME].")
def plugins(*, as_json: bool, chain: str | None, config_of: str | None) -> int:
    """List the installed plugins: on, off, broken and why.

    A plugin is off unless [plugins] in sink-runner.toml, SINK_PLUGINS or --only turns it on, and
    off whenever [plugins], SINK_PLUGINS_OFF or --without turns it off. One that is off is not
    imported. The exit code is 78 while a plugin that is on has a fault.

    If [health] has a port, the state of each mapping comes from the running runner: running,
    paused, stopped or quarantined, with the reason. If that runner was started with other settings
    than this call sees, the list says so until you restart it. A mapping whose plugin is broken is
    quarantined; the others run.

    examples:
      sink-runner plugins
      sink-runner plugins --json
      sink-runner plugins --chain golden-records
      sink-runner plugins --config-of golden-records
    """
    path = find_config()
    file = load(path) if path else ConfigFile(reader=Reader(os.environ))
    installed = read_plugins(file)
    if chain:
        lines: Iterable[str] = _chain(find_plugin(chain, installed), installed.values())
    elif config_of:
        lines = _config_of(find_plugin(config_of, installed))
    elif as_json:
        states = _states(installed, file)
        records = [_record(plugin, states.get(plugin.name)) for plugin in installed.values()]
        lines = [json.dumps(records, indent=2)]
    else:
        lines = _table([*installed.values()], _states(installed, file))
    for line in lines:
        print(line)
    return EX_CONFIG if any(plugin.errors for plugin in installed.values()) else OK


def _states(installed: Mapping[str, discovery.Plugin], file: ConfigFile) -> Mapping[str, Reported]:
    """Return what the running runner reports, else which plugins would be quarantined."""
    blocked = select_usable(installed.values()).quarantined
    expected = {name: Reported("quarantined", reason) for name, reason in blocked.items()}
    reported = read_states(file.health())
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


def _record(plugin: discovery.Plugin, reported: Reported | None) -> dict[str, object]:
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


def _table(plugins: Sequence[discovery.Plugin], states: Mapping[str, Reported]) -> Iterator[str]:
    if not plugins:
        yield "no plugin is installed; `sink-runner new` writes one"
    heads = [(plugin.name, str(plugin.status), plugin.version) for plugin in plugins]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    for plugin, head in zip(plugins, heads, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(head, widths, strict=True)]
        yield "  ".join([*cells, _route(plugin)]).rstrip()
        own = [hook for hook in plugin.hooks if hook not in _DECLARING]
        if own:
            yield f"    hooks: {', '.join(own)}"
        yield from (f"    fault: {error}" for error in plugin.errors)
        reported = states.get(plugin.name)
        if reported and (reported.state != "running" or reported.reason) and not plugin.errors:
            yield f"    {reported}"


def _route(plugin: discovery.Plugin) -> str:
    if plugin.mapping is not None:
        route = f"{plugin.mapping.source} -> {plugin.mapping.target}"
        return route if plugin.mapping.streaming else f"{route} (batch only)"
    if plugin.http_api is not None:
        return f"HTTP API: {', '.join(plugin.http_api.operations)}"
    return "every mapping" if plugin.status is discovery.Status.ON else ""


def _chain(owner: discovery.Plugin, installed: Iterable[discovery.Plugin]) -> Iterator[str]:
    if owner.mapping is None:
        is_global = "is global: it joins the chain of every mapping"
        raise ConfigError(
            f"plugin {owner.name!r} {is_global if owner.is_global else 'has no mapping'}"
        )
    on = [plugin for plugin in installed if plugin.status is discovery.Status.ON]
    manager = discovery.manager_for(owner, on)
    yield f"{owner.name}: {owner.mapping.source} -> {owner.mapping.target}"
    for step, (does, hook) in enumerate(_steps(owner.mapping), start=1):
        if hook is None:
            yield f"{step:3}  {'(built in)':24} {does}"
            continue
        # pluggy calls the last of its list first.
        names = [impl.plugin_name for impl in reversed(getattr(manager.hook, hook).get_hookimpls())]
        yield f"{step:3}  {hook:24} {', '.join(names) or '-'}"


def _steps(mapping: TableMapping) -> Iterator[tuple[str, str | None]]:
    """Yield what happens to an event, in order: the runner's own steps and the hooks."""
    yield "drop echoes of the runner's own writes", None
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
