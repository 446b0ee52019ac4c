"""``sink-runner batch``: copy a source table to its target, all of it or what changed."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from .. import log
from ..batch import session
from ..batch.lock import BusyError
from ..errors import ConfigError
from ..loading.quarantine import require_usable
from .arguments import flag, json_option, moment
from .command import FAILURE, OK, Command
from .configuration import find_plugin, read_config, read_plugins
from .control_options import even_if_paused_option, refuse_paused


@click.command(cls=Command)
@click.argument("name")
@flag("--full", help="Read every row, and remove target rows that the source no longer has.")
@click.option(
    "--since",
    metavar="T",
    type=moment,
    help="Read rows from this time on: the time that the mapping compares versions by, or "
    "updated_at, or created_at. ISO 8601, UTC if it has no zone.",
)
@click.option("--until", metavar="T", type=moment, help="Read rows before this time.")
@flag(
    "--dry-run",
    help="Do all of it, but roll every transaction back; print what would be written, removed and "
    "failed.",
)
@flag("--wait", help="Wait while another run writes the target table; otherwise exit with 75.")
@click.option(
    "--tolerate",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Rows that may fail before the exit code is 1.",
)
@even_if_paused_option
@json_option
def batch(
    *,
    name: str,
    full: bool,
    since: datetime | None,
    until: datetime | None,
    dry_run: bool,
    wait: bool,
    tolerate: int,
    even_if_paused: bool,
    as_json: bool,
) -> int:
    """Copy a source table to its target: all rows or the changed ones.

    NAME is a mapping of `sink-runner plugins`. Its table is read from the database, not from Kafka,
    and each row is filtered, mapped, looked up, masked and written as its events are. You can run
    it while the runner runs: the newer version of a row wins, whichever way it came.

    Without an option it reads what was committed since the last run; the first run reads all rows.
    With a time range nothing is removed from the target. One run at a time writes a target table;
    a second one names the first and exits with 75. So does a run of a paused mapping, unless
    you add --even-if-paused or --dry-run.

    A row that fails is kept as a dead letter, and the run continues. SIGTERM and Ctrl-C finish the
    current rows; the next run continues after them. The exit code is 1 if more rows failed than
    --tolerate allows, if the counts do not add up, if rows were written and none of them could be
    compared with the source, or if the run was stopped.

    examples:
      sink-runner batch golden-records                   changes since the last run
      sink-runner batch golden-records --full            all rows
      sink-runner batch golden-records --full --dry-run  what that would change
      sink-runner batch golden-records --since 2026-03-01 --until 2026-03-02T12:00
      sink-runner batch citizens --wait --tolerate 10
    """
    if full and (since or until):
        raise ConfigError("--full reads every row: it goes with neither --since nor --until")
    file = read_config()
    config = file.config()
    plugins = read_plugins(file)
    plugin = find_plugin(name, plugins)
    if plugin.mapping is None:
        raise ConfigError(f"plugin {name!r} is global: it has no table to read")
    log.configure(config.log)
    options = session.Options(
        full=full, since=_stored(since), until=_stored(until), dry_run=dry_run
    )
    usable = require_usable(plugin, plugins.values())
    try:
        refuse_paused(config, plugin, unless=dry_run or even_if_paused)
    except BusyError as fault:
        print(f"sink-runner: {fault}", file=sys.stderr)
        return session.BUSY
    report = session.run(plugin, usable, config, options, wait=wait)
    if report is None:
        return session.BUSY
    for line in [report.json()] if as_json else report.lines():
        print(line)
    return FAILURE if report.interrupted or not report.is_good(tolerate) else OK


def _stored(time: datetime | None) -> datetime | None:
    """Return the time as the databases' columns hold it: UTC without a zone."""
    return time and time.replace(tzinfo=None)
