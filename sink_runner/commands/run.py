"""``sink-runner run``: everything is checked first, then events flow."""

from __future__ import annotations

import argparse

from .. import log
from ..errors import ConfigError
from ..loading import registry
from . import Subparsers, add_choice_options, add_command, read_config, read_plugins

TEACHING = """\
Runs until SIGTERM or Ctrl-C: the batch at hand is finished or rolled back, and the next run
goes on where this one stopped.  If anything is wrong with the configuration or with a plugin
that is on, all of it is told, nothing is consumed and the exit code is 78.

examples:
  sink-runner run
  sink-runner run --only golden-records
  sink-runner run --without citizens,golden-records
  SINK_PLUGINS_OFF=citizens sink-runner run
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "run",
        summary="carry change events into the target databases",
        teaching=TEACHING,
    )
    add_choice_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    file = read_config(args)
    config = file.config()
    selected = registry.usable(read_plugins(args, file).values())
    if not any(plugin.mapping for plugin in selected):
        raise ConfigError("no plugin with a mapping is on; see `sink-runner plugins`")
    if not any(plugin.mapping and plugin.mapping.events for plugin in selected):
        raise ConfigError(
            "no mapping that is on reads events: `sink-runner batch` and `sink-runner schedule` "
            "write the others"
        )
    log.configure(config.log)
    # Kafka, PostgreSQL and the decoder are not loaded by the commands that need none of them.
    from .. import runner  # noqa: PLC0415

    return runner.run(config, selected)
