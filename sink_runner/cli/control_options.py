"""Mappings that a command controls, through their target databases."""

from __future__ import annotations

import click

from ..batch.lock import BusyError
from ..config import Config, ConfigFile
from ..control.store import pauses
from ..control.target import Target
from ..loading.discovery import Plugin
from .arguments import flag
from .configuration import chosen_mappings, read_plugins

all_option = flag("--all", "every", help="Every mapping.")


even_if_paused_option = flag("--even-if-paused", help="Write it even if a person paused it.")


def refuse_paused(config: Config, plugin: Plugin, *, unless: bool) -> None:
    """Raise BusyError, with the way out, if a person paused the mapping and not `unless`."""
    if unless or plugin.mapping is None:
        return
    with Target(plugin.name, plugin.mapping, config).session("sink-runner pause") as connection:
        pause = pauses(connection, [plugin.name]).get(plugin.name)
    if pause is not None:
        raise BusyError(
            f"mapping {plugin.name!r} is paused: {pause}; run `sink-runner resume {plugin.name}` "
            "first, or add --even-if-paused"
        )


def chosen_targets(file: ConfigFile, name: str | None, *, every: bool) -> list[Target]:
    """Return the mapping of this name, or every one."""
    if every == (name is not None):
        raise click.UsageError("give the name of one mapping, or --all")
    config = file.config()
    chosen = chosen_mappings([] if name is None else [name], read_plugins(file))
    return [Target(one, mapping, config) for one, mapping in chosen.items()]
