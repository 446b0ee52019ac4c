"""``sink-runner run``: carry change events into the targets, each mapping on its own."""

from __future__ import annotations

import argparse

from .. import log
from ..errors import ConfigError
from ..loading import discovery
from ..loading.quarantine import Selection, select_usable
from .command import OK, Subparsers, add_choice_options, add_command, read_config, read_plugins

TEACHING = """\
Runs until SIGTERM or Ctrl-C: the current batch is finished or rolled back, and the next run goes
on where this one stopped.

A mapping that cannot start, or whose plugin cannot be loaded, is quarantined: the others run, and
the log, /readyz, /metrics and `sink-runner plugins` give the reason.  A mapping that the database
or Kafka keeps from starting is tried again every 60 seconds; a plugin that cannot be loaded needs
a restart.  A mapping whose target a newer version has migrated stops: upgrade this runner.  A
global plugin that cannot be loaded quarantines every mapping, because its hooks may mask columns.

exit codes:
  0   stopped by a signal
  1   stopped by a signal while a mapping was stopped or quarantined, or every mapping has stopped
  78  the configuration cannot be read, or no mapping can be loaded; with --strict, anything is
      wrong with a plugin or a mapping that is on (nothing is consumed)

examples:
  sink-runner run
  sink-runner run --strict
  sink-runner run --check
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
    parser.add_argument(
        "--strict", action="store_true", help="refuse to start unless every mapping can start"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="load the configuration and the plugins, say what is wrong, and end: 78 if `run` "
        "would refuse",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    file = read_config(args)
    config = file.config()
    plugins = read_plugins(args, file).values()
    if args.strict:
        discovery.usable(plugins)
    selection = select_usable(plugins)
    _check_any_runs(selection)
    if args.check:
        for fault in selection.faults():
            print(f"quarantined: {fault}")
        return OK
    log.configure(config.log)
    # Kafka, PostgreSQL and the decoder are not loaded by the commands that need none of them.
    from ..runtime import runner  # noqa: PLC0415

    return runner.run(config, selection.usable, selection.quarantined, strict=args.strict)


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
