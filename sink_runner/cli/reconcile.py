"""``sink-runner reconcile``: compare source and target through the mapping, and repair."""

from __future__ import annotations

import sys
import threading
from datetime import datetime

import click

from .. import error_text, log
from ..batch.lock import BusyError
from ..batch.session import BUSY
from ..errors import ConfigError, SinkError
from ..loading.quarantine import require_usable
from ..reconcile import session
from ..signals import stopped_by_signals
from .arguments import flag, json_option, moment
from .command import FAILURE, OK, Command
from .configuration import find_plugin, loaded_plugins, read_config, read_plugins
from .control_options import even_if_paused_option, refuse_paused


@click.command(cls=Command, exclusive=("--full", "--since", "--sample"))
@click.argument("name", required=False)
@flag("--all", "every", help="Reconcile every mapping, one after the other.")
@flag("--full", help="Compare every row, and all keys of the target.")
@click.option(
    "--sample",
    metavar="P",
    type=click.FloatRange(0, 100, min_open=True),
    help="Compare P per cent of the source's rows, others in each run.",
)
@click.option(
    "--since",
    metavar="T",
    type=moment,
    help="Compare source rows from this time on, as --since of `sink-runner batch` does.",
)
@flag("--repair", help="Write the rows that are missing or differ, and remove the extra ones.")
@flag("--dry-run", help="With --repair: roll every transaction back.")
@flag("--exit-zero", help="Exit with 0 although rows differ or are not yet applied.")
@even_if_paused_option
@json_option
def reconcile(
    *,
    name: str | None,
    every: bool,
    full: bool,
    sample: float | None,
    since: datetime | None,
    repair: bool,
    dry_run: bool,
    exit_zero: bool,
    even_if_paused: bool,
    as_json: bool,
) -> int:
    """Compare source and target through the mapping, and repair.

    NAME is a mapping of `sink-runner plugins`. Each source row is filtered, mapped, looked up and
    masked as by `sink-runner batch`, and compared with the target's row in the target database. The
    report counts rows that are missing, extra or different and names the columns, never a value.

    Without an option it reads only the ranges of keys whose digests, on either side, are not those
    that were found equal; of a mapping with lookups, or without a key that both sides sort alike,
    it reads what the source has changed since the last run without a difference. A row counts only
    if it still differs after all changes so far were applied: the command waits for Debezium and
    for the runner. If these make no progress, the rows are reported as not yet applied.

    Nothing is written but the report, unless you add --repair. That reads the source rows again and
    writes them as a batch run does: the conflict rule, the loop guard and the audit log apply.
    Extra rows are removed if the mapping removes rows.

    The exit code is 0 if both are equal, or equal after a repair, 1 if not, if rows are not yet
    applied or if the run was stopped; the next run of the same mode resumes there. It is 75 while
    another process reconciles the mapping, or a batch run or a pause keeps a repair out.

    examples:
      sink-runner reconcile golden-records
      sink-runner reconcile --all --full --json
      sink-runner reconcile golden-records --full --repair --dry-run
      sink-runner reconcile golden-records --since 2026-03-01
    """
    if every == (name is not None):
        raise click.UsageError("give the name of one mapping, or --all")
    if dry_run and not repair:
        raise click.UsageError("--dry-run goes with --repair: without it nothing is written")
    file = read_config()
    config = file.config()
    plugins = read_plugins(file)
    log.configure(config.log)
    chosen = loaded_plugins(plugins.values()) if name is None else [find_plugin(name, plugins)]
    chosen = [plugin for plugin in chosen if plugin.mapping is not None]
    if not chosen:
        raise ConfigError("no mapping to compare: a global plugin has no table")
    options = session.Options(
        full=full,
        since=since and since.replace(tzinfo=None),
        sample=sample,
        repair=repair,
        dry_run=dry_run,
    )
    unless = not repair or dry_run or even_if_paused
    stop, codes = threading.Event(), [OK]
    with stopped_by_signals(stop):
        for plugin in chosen:
            if stop.is_set():
                return FAILURE
            try:
                refuse_paused(config, plugin, unless=unless)
                usable = require_usable(plugin, plugins.values())
                report = session.run(plugin, usable, config, options, stop=stop)
            except BusyError as fault:
                print(f"sink-runner: {fault}", file=sys.stderr)
                codes.append(BUSY)
                continue
            except SinkError as fault:
                if not every:
                    raise
                print(
                    f"sink-runner: mapping {plugin.name!r}: {error_text.describe(fault)}",
                    file=sys.stderr,
                )
                codes.append(FAILURE)
                continue
            is_good = report.is_equal or (exit_zero and not report.interrupted)
            codes.append(OK if is_good else FAILURE)
            for line in [report.json()] if as_json else report.lines():
                print(line, flush=True)
    return max(codes)
