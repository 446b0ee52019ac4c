"""``sink-runner quality``: what broke a rule, what was given a default, what has grown old."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from ..config import Config
from ..config.database import find_database
from ..loading import discovery
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    check_installed,
    plugins_with_mapping,
    read_config,
    read_plugins,
)
from .tables import print_table

if TYPE_CHECKING:
    from ..quality.report import Report

TEACHING = """\
A mapping declares its rules on its columns (required, minimum, maximum, one_of) and on the row
(rules).  A row that breaks one is a dead letter, under the rule's name; a NULL in a column with
a default gets it.  Both are counted by day, UTC, in the target database.  The rule "found" is
broken by an event whose required lookup found nothing in all the time that it was given.

open dead letters  are for a person to look at: the rules' and all others
waiting            events whose required lookup has found nothing yet
stale              rows of the target whose version is older than [quality] stale_after_days

The exit code is 0 whatever is found; with --strict it is 1 if anything broke a rule.

examples:
  sink-runner quality
  sink-runner quality --days 1 --strict
  sink-runner quality --json decisions citizens
"""
DAYS = 30


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "quality",
        summary="report the rows that broke a rule, the defaults used and what is stale",
        teaching=TEACHING,
    )
    add_choice_options(parser)
    parser.add_argument("names", metavar="NAME", nargs="*", help="these mappings (default: all)")
    parser.add_argument(
        "--days", type=_days, default=DAYS, metavar="N", help=f"count the last N days ({DAYS})"
    )
    parser.add_argument("--json", action="store_true", help="the report, for programs")
    parser.add_argument("--strict", action="store_true", help="fail if anything broke a rule")
    parser.set_defaults(run=quality)


def quality(args: argparse.Namespace) -> int:
    file = read_config(args)
    config = file.config()
    plugins = read_plugins(args, file)
    check_installed(config.quality.mappings, plugins)
    chosen = plugins_with_mapping(args.names, plugins)
    reports = [_report(plugin, config, args.days) for plugin in chosen]
    if args.json:
        print(json.dumps([record(report) for report in reports], indent=2))
    else:
        for table in tables(reports, args.days):
            print_table(table)
    return FAILURE if args.strict and any(report.broken for report in reports) else OK


def record(report: Report) -> dict[str, object]:
    """The report as JSON has it: `asdict`, the sums and days as text."""
    counts = [asdict(count) | {"last": count.last.isoformat()} for count in report.counts]
    sums = {"broken": report.broken, "defaults": report.defaults}
    return asdict(report) | {"counts": counts} | sums


def tables(reports: Iterable[Report], days: int) -> Iterator[Table]:
    reports = list(reports)
    whole = Table(title=f"quality, last {days} days", title_justify="left")
    for head in ("mapping", "broke a rule", "defaults", "open dead letters", "waiting", "stale"):
        whole.add_column(head, justify="left" if head == "mapping" else "right", overflow="fold")
    for report in reports:
        numbers = (report.broken, report.defaults, report.open_dead_letters, report.waiting)
        whole.add_row(report.mapping, *map(str, numbers), _stale(report))
    yield whole
    if not any(report.counts for report in reports):
        return
    rules = Table(title="by rule", title_justify="left")
    for head in ("mapping", "rule", "column", "rows", "last"):
        rules.add_column(head, justify="right" if head == "rows" else "left", overflow="fold")
    for report in reports:
        for count in report.counts:
            rules.add_row(
                report.mapping, count.rule, count.column, str(count.rows), str(count.last)
            )
    yield rules


def _stale(report: Report) -> str:
    stale = report.stale
    return "-" if stale is None else f"{stale.rows} of {stale.of} ({stale.days:g} d)"


def _report(plugin: discovery.Plugin, config: Config, days: int) -> Report:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..quality.report import read_report  # noqa: PLC0415

    assert plugin.mapping is not None
    name = plugin.mapping.target_table.database
    return read_report(
        plugin.name,
        plugin.mapping,
        find_database(config.databases, name, named_by=f"target of {plugin.name!r}").dsn,
        days=days,
        stale_after=config.quality.stale_after(plugin.name),
    )


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ValueError("a day at least")
    return days
