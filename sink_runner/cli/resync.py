"""``sink-runner resync``: make a target equal to its source."""

from __future__ import annotations

import sys

import click

from .. import log
from ..batch.lock import BusyError
from ..batch.session import BUSY
from ..control.resync import plan_resync, run_resync
from ..loading.quarantine import require_usable
from .arguments import confirmed, flag, user_option
from .command import FAILURE, OK, Command
from .configuration import find_plugin, read_config, read_plugins
from .control_options import even_if_paused_option
from .tables import print_lines


@click.command(cls=Command)
@click.argument("name")
@flag("--dry-run", help="Check everything, print the plan, and change nothing.")
@flag("--yes", help="Do not ask.")
@even_if_paused_option
@user_option("Who resyncs, as it is recorded.")
def resync(*, name: str, dry_run: bool, yes: bool, even_if_paused: bool, user: str) -> int:
    """Make a target equal to its source, after everything was checked.

    NAME is a mapping. First the command checks that both databases answer, and that columns,
    grants, lookups and policies are as the mapping needs them; it refuses if the source is empty
    and the target is not. Then it prints how many rows are read and what is removed, and asks.

    What follows is `sink-runner batch NAME --full`: each row is written as its events are, and rows
    that the source no longer has are removed. The runner may run meanwhile. Nothing is emptied
    first, so readers of the target never see it without its rows.

    The exit code is 1 if a row failed or the run was stopped, and 75 while another run writes the
    target table or the mapping is paused.

    examples:
      sink-runner resync golden-records --dry-run
      sink-runner resync golden-records
    """
    file = read_config()
    config, plugins = file.config(), read_plugins(file)
    plugin = find_plugin(name, plugins)
    usable = require_usable(plugin, plugins.values())
    log.configure(config.log)
    try:
        plan = plan_resync(plugin, usable, config, str, even_if_paused=even_if_paused or dry_run)
    except BusyError as fault:
        print(f"sink-runner: {fault}", file=sys.stderr)
        return BUSY
    print_lines(plan.lines, indent=2)
    if dry_run:
        return OK
    if not confirmed(f"{name}: do this?", yes=yes):
        return FAILURE
    report = run_resync(plugin, usable, config, user)
    if report is None:
        return BUSY
    print_lines(report.lines())
    return OK if report.is_good(0) else FAILURE
