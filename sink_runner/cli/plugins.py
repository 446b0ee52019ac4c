"""``sink-runner plugins``: what is installed, what is on, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from ..config import ConfigFile, load
from ..config.reader import SettingsReader, to_toml
from ..config.reference import keys
from ..errors import ConfigError
from ..health.client import Reported, read_states
from ..loading import discovery
from ..loading.chain import chain_steps
from ..loading.quarantine import select_usable
from .arguments import json_option, plugin_options, wide_option
from .command import EX_CONFIG, OK, Command
from .config import HIDDEN, describe
from .configuration import find_config, find_plugin, read_plugins
from .tables import aligned, print_lines

_DECLARING = ("sink_mapping", "sink_config", "sink_api")
"""Hooks that declare what a plugin is, and take no part in the processing of an event."""
_STILL_ON = "on in the running runner, which was started with other settings: restart it"
_NOT_YET_ON = "off in the running runner, which was started with other settings: restart it"


HEADS = ("NAME", "STATUS", "TARGET")
WIDE_HEADS = ("NAME", "STATUS", "VERSION", "TARGET", "HOOKS", "SOURCE")
_STEP_COLUMN = 30
"""Characters before the text of a step of --chain."""


@click.command(cls=Command, exclusive=("--json", "--chain", "--config-of", "--wide"))
@plugin_options
@wide_option
@json_option
@click.option("--chain", metavar="NAME", help="Print each step of one mapping, in order.")
@click.option("--config-of", metavar="NAME", help="Print the settings of [plugins.NAME].")
def plugins(*, wide: bool, as_json: bool, chain: str | None, config_of: str | None) -> int:
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
      sink-runner plugins --wide
      sink-runner plugins --json
      sink-runner plugins --chain golden-records
      sink-runner plugins --config-of golden-records
    """
    path = find_config()
    file = load(path) if path else ConfigFile(reader=SettingsReader(os.environ))
    installed = read_plugins(file)
    if as_json:
        states = _states(installed, file)
        records = [_record(plugin, states.get(plugin.name)) for plugin in installed.values()]
        print(json.dumps(records, indent=2))
    elif chain:
        steps = _chain(find_plugin(chain, installed), installed.values())
        print_lines(steps, indent=_STEP_COLUMN)
    elif config_of:
        print_lines(_config_of(find_plugin(config_of, installed)))
    else:
        lines = _table([*installed.values()], _states(installed, file), wide=wide)
        print_lines(lines, wide=wide)
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


def _table(
    plugins: Sequence[discovery.Plugin], states: Mapping[str, Reported], *, wide: bool
) -> Iterator[str]:
    if not plugins:
        yield "no plugin is installed; `sink-runner new` writes one"
        return
    cells = _wide_cells if wide else _cells
    head, *lines = aligned([WIDE_HEADS if wide else HEADS, *map(cells, plugins)])
    yield head
    for plugin, line in zip(plugins, lines, strict=True):
        yield line
        yield from (f"    {note}" for note in _notes(plugin, states.get(plugin.name)))


def _cells(plugin: discovery.Plugin) -> tuple[str, ...]:
    return plugin.name, plugin.status, _tables(plugin)[1]


def _wide_cells(plugin: discovery.Plugin) -> tuple[str, ...]:
    hooks = [hook for hook in plugin.hooks if hook not in _DECLARING]
    source, target = _tables(plugin)
    return plugin.name, plugin.status, plugin.version, target, ", ".join(hooks), source


def _tables(plugin: discovery.Plugin) -> tuple[str, str]:
    """Return what the plugin reads, and what it writes or serves."""
    if plugin.mapping is not None:
        return str(plugin.mapping.source), str(plugin.mapping.target)
    if plugin.http_api is not None:
        return ", ".join(plugin.http_api.operations), "HTTP API"
    return "", "every mapping" if plugin.status is discovery.Status.ON else ""


def _notes(plugin: discovery.Plugin, reported: Reported | None) -> Iterator[str]:
    if plugin.mapping is not None and not plugin.mapping.streaming:
        yield "batch only"
    if plugin.errors:
        yield from (f"fault: {error}" for error in plugin.errors)
    elif reported and (reported.state != "running" or reported.reason):
        yield str(reported)


def _chain(owner: discovery.Plugin, installed: Iterable[discovery.Plugin]) -> Iterator[str]:
    if owner.mapping is None:
        is_global = "is global: it joins the chain of every mapping"
        raise ConfigError(
            f"plugin {owner.name!r} {is_global if owner.is_global else 'has no mapping'}"
        )
    yield f"{owner.name}:"
    yield f"    {owner.mapping.source} ->"
    yield f"    {owner.mapping.target}"
    for number, step in enumerate(chain_steps(owner, installed), start=1):
        names = ", ".join(plugin.name for plugin in step.plugins) or "-"
        text = f"{step.hook:24} {names}" if step.hook else f"{'(built in)':24} {step.does}"
        yield f"{number:3}  {text}"


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
