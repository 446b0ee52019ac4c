"""``sink-runner batch``: carry a source table into its target, all of it or what changed."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from .. import log
from ..config import ConfigFile
from ..config.reader import hint
from ..errors import ConfigError
from ..loading import discovery
from ..loading.quarantine import require_usable
from .command import FAILURE, OK, Subparsers, add_command, read_config, read_plugins

TEACHING = """\
Reads the table itself, not Kafka, and sends each row through the very chain that its events
take: filter, map, look up, mask, resolve, write.  It may run while the runner does: the newer of
two rows stays, whichever way it came.  Without an option it reads what was written since the last
run, however late it was committed; the first run reads all.  One run at a time writes a target
table; a second one says who it is and exits with 75.

A row that can't be carried is kept as a dead letter and the run goes on.  SIGTERM and Ctrl-C
finish the rows at hand; the next run goes on from there.  The exit code is 1 if more rows failed
than --tolerate allows, if the counts do not add up, if rows were written and none of them could be
compared with the source, or if the run was stopped before its end.

examples:
  sink-runner batch golden-records                  what has changed since the last run
  sink-runner batch golden-records --full           all rows; what is gone leaves the target
  sink-runner batch golden-records --full --dry-run what that would do, and nothing else
  sink-runner batch golden-records --since 2026-03-01 --until 2026-03-02T12:00
                                                    the rows of a time: while capture is down, or
                                                    to mend what went wrong then
  sink-runner batch citizens --wait --tolerate 10   when its turn comes; ten bad rows are no fault
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "batch",
        summary="carry a source table into its target, all of it or what has changed",
        teaching=TEACHING,
    )
    parser.add_argument("name", metavar="NAME", help="the mapping, as `sink-runner plugins` has it")
    _add_rows(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="do all of it, but roll every transaction back; says what would be written, retired "
        "and failed",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait while another run writes the target table, instead of exiting with 75",
    )
    parser.add_argument(
        "--tolerate",
        metavar="N",
        type=_count,
        default=0,
        help="so many rows may fail before the exit code is 1 (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="the report, for programs")
    parser.set_defaults(run=run)


def _add_rows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--full",
        action="store_true",
        help="read every row, and retire from the target what is gone from the source",
    )
    parser.add_argument(
        "--since",
        metavar="T",
        type=_time,
        help="read the rows from this time on, by the time that the mapping compares versions by, "
        "or updated_at, or created_at; ISO 8601, UTC if no zone is given",
    )
    parser.add_argument(
        "--until", metavar="T", type=_time, help="... and before this time; retires nothing"
    )


def run(args: argparse.Namespace) -> int:
    if args.full and (args.since or args.until):
        raise ConfigError("--full reads every row: it goes with neither --since nor --until")
    file = read_config(args)
    config = file.config()
    plugins = _chosen(args, file)
    log.configure(config.log)
    # PostgreSQL and the chain are not loaded by the commands that need none of them.
    from ..batch import session  # noqa: PLC0415

    options = session.Options(
        full=args.full, since=args.since, until=args.until, dry_run=args.dry_run
    )
    plugin = plugins[args.name]
    usable = require_usable(plugin, plugins.values())
    report = session.run(plugin, usable, config, options, wait=args.wait)
    if report is None:
        return session.BUSY
    for line in [report.json()] if args.json else report.lines():
        print(line)
    return FAILURE if report.interrupted or not report.good(args.tolerate) else OK


def _chosen(args: argparse.Namespace, file: ConfigFile) -> dict[str, discovery.Plugin]:
    """The plugins that are on, the named one among them, which must have a mapping."""
    args.only, args.without = [], []
    plugins = read_plugins(args, file)
    if args.name not in plugins:
        raise ConfigError(f"plugin {args.name!r} is not installed{hint(args.name, plugins)}")
    plugin = plugins[args.name]
    discovery.usable([plugin])
    if plugin.status is not discovery.Status.ON:
        raise ConfigError(f"plugin {args.name!r} is {plugin.status}; see `sink-runner plugins`")
    if plugin.mapping is None:
        raise ConfigError(f"plugin {args.name!r} is global: it has no table to read")
    return plugins


def _time(text: str) -> datetime:
    """A time in UTC, as the databases' columns hold it."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number
