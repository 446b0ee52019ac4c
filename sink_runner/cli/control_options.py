"""Mappings that a command controls, through their target databases."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ..config import Config, ConfigFile
from ..control import target
from ..control.plan import Plan
from ..control.target import Target
from ..loading.discovery import Plugin, streaming
from .arguments import confirmed, flag
from .command import FAILURE, OK
from .configuration import chosen_mappings, read_plugins
from .tables import print_lines

all_option = flag("--all", "every", help="Every mapping.")


even_if_paused_option = flag("--even-if-paused", help="Write it even if a person paused it.")


def refuse_paused(config: Config, plugin: Plugin, *, unless: bool) -> None:
    """Raise BusyError, with the way out, if a person paused the mapping and not `unless`."""
    if unless or plugin.mapping is None:
        return
    target.refuse_paused(Target(plugin.name, plugin.mapping, config))


def carry_out(plan: Plan, name: str, user: str, *, dry_run: bool, yes: bool) -> int:
    """Print the plan, prompt unless `yes`, and apply it; return the exit code."""
    print_lines(plan.lines, indent=2)
    if dry_run:
        return OK
    if not confirmed(f"{name}: do this?", yes=yes):
        return FAILURE
    print(f"{name}: {plan.apply(user)}")
    return OK


def streaming_targets(config: Config, plugins: Mapping[str, Plugin]) -> list[Target]:
    """Return one mapping that a runner applies events to, for each target database."""
    found = {
        mapping.target_table.database: Target(name, mapping, config)
        for name, mapping in streaming(plugins.values()).items()
    }
    return [*found.values()]


def chosen_targets(file: ConfigFile, name: str | None, *, every: bool) -> list[Target]:
    """Return the mapping of this name, or every one."""
    if every == (name is not None):
        raise click.UsageError("give the name of one mapping, or --all")
    config = file.config()
    chosen = chosen_mappings([] if name is None else [name], read_plugins(file))
    return [Target(one, mapping, config) for one, mapping in chosen.items()]
