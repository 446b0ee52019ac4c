"""``sink-runner run``: apply change events to the targets, each mapping separately."""

from __future__ import annotations

import os
import sys

import click

from .. import log
from ..errors import ConfigError
from ..loading import discovery
from ..loading.quarantine import Selection, select_usable
from ..runtime import runner
from .arguments import flag, plugin_options
from .command import OK, Command
from .configuration import read_config, read_plugins


@click.command(cls=Command)
@flag("--strict", help="Refuse to start unless every mapping can start.")
@flag(
    "--check",
    help="Load the configuration and the plugins, print what is wrong, and exit: with 78 if the "
    "runner would refuse to start.",
)
@plugin_options
def run(*, strict: bool, check: bool) -> int:
    """Apply change events to the target databases.

    Runs until SIGTERM or Ctrl-C: the current batch is finished or rolled back, and the next run
    continues where this one stopped.

    A mapping that cannot start, or whose plugin cannot be loaded, is quarantined: the others run,
    and the log, /readyz, /metrics and `sink-runner plugins` give the reason. A mapping that the
    database or Kafka prevents from starting is tried again every 60 seconds; a plugin that cannot
    be loaded needs a restart. A mapping whose target a newer version has migrated stops: upgrade
    this runner. A global plugin that cannot be loaded quarantines every mapping, because its hooks
    may mask columns.

    exit codes:
      0   stopped by a signal
      1   stopped by a signal while a mapping was stopped or quarantined, or
          every mapping has stopped
      78  the configuration cannot be read, or no mapping can be loaded; with
          --strict, a plugin or a mapping that is on has a fault

    examples:
      sink-runner run
      sink-runner run --strict
      sink-runner run --check
      sink-runner run --only golden-records
      sink-runner run --without citizens,golden-records
      SINK_PLUGINS_OFF=citizens sink-runner run
    """
    file = read_config()
    config = file.config()
    plugins = read_plugins(file).values()
    if strict:
        discovery.usable(plugins)
    selection = select_usable(plugins)
    _check_any_runs(selection)
    if check:
        for fault in selection.faults():
            print(f"quarantined: {fault}")
        return OK
    log.configure(config.log)
    code = runner.run(config, selection.usable, selection.quarantined, strict=strict)
    if code == runner.RESTART:
        sys.stdout.flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this process, once more
    return code


def _check_any_runs(selection: Selection) -> None:
    """Raise ConfigError unless at least one mapping that reads events can be loaded."""
    mappings = [plugin.mapping for plugin in selection.usable if plugin.mapping is not None]
    if any(mapping.streaming for mapping in mappings):
        return
    if selection.quarantined:
        raise ConfigError("\n".join(selection.faults()))
    if not mappings:
        raise ConfigError("no plugin with a mapping is on; see `sink-runner plugins`")
    raise ConfigError(
        "no mapping that is on reads events: `sink-runner batch` and `sink-runner schedule` "
        "write the others"
    )
