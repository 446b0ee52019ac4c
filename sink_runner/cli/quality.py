"""``sink-runner quality``: what broke a rule, which defaults were used, what is stale."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.table import Table

from ..config import Config
from ..config.database import find_database
from ..plugin import TableMapping
from ..quality.report import Report, read_report
from .arguments import flag, json_option, plugin_options, wide_option
from .command import FAILURE, OK, Command
from .configuration import check_installed, chosen_mappings, read_config, read_plugins
from .tables import print_table

EXTRA = ("defaults", "waiting")
"""Columns that --wide adds."""


@click.command(cls=Command)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--days", type=click.IntRange(min=1), default=30, metavar="N", help="Count the last N days."
)
@flag("--strict", help="Exit with 1 if a rule was broken.")
@plugin_options
@wide_option
@json_option
def quality(*, names: tuple[str, ...], days: int, strict: bool, wide: bool, as_json: bool) -> int:
    """Report rows that broke a rule, defaults used, stale rows.

    NAME is a mapping; without one all are reported. A mapping declares rules on its columns
    (required, minimum, maximum, one_of) and on the row (rules). A row that breaks one becomes a
    dead letter that names the rule; a NULL gets the column's default, if there is one. Both are
    counted by day, UTC, in the target database. Rule "found" is broken by an event whose required
    lookup found nothing until its time was over.

      open dead letters  a person has to decide about: the rules' and all others
      waiting            events whose required lookup has found nothing yet
      stale              rows of the target whose version is older than
                         [quality] stale_after_days

    The exit code is 0 unless you pass --strict.

    examples:
      sink-runner quality
      sink-runner quality --days 1 --strict
      sink-runner quality --json decisions citizens
    """
    file = read_config()
    config = file.config()
    plugins = read_plugins(file)
    check_installed(config.quality.mappings, plugins)
    reports = [
        _report(name, mapping, config, days)
        for name, mapping in chosen_mappings(names, plugins).items()
    ]
    if as_json:
        print(json.dumps([_record(report) for report in reports], indent=2))
    else:
        print_table(_totals(reports, days), extra=EXTRA, wide=wide)
        if any(report.counts for report in reports):
            print_table(_rules(reports))
    return FAILURE if strict and any(report.broken for report in reports) else OK


def _report(name: str, mapping: TableMapping, config: Config, days: int) -> Report:
    database = mapping.target_table.database
    return read_report(
        name,
        mapping,
        find_database(config.databases, database, named_by=f"target of {name!r}").dsn,
        days=days,
        stale_after=config.quality.stale_after(name),
    )


def _record(report: Report) -> dict[str, object]:
    counts = [asdict(count) | {"last": count.last.isoformat()} for count in report.counts]
    sums = {"broken": report.broken, "defaults": report.defaults}
    return asdict(report) | {"counts": counts} | sums


def _totals(reports: Sequence[Report], days: int) -> Table:
    whole = Table(title=f"quality, last {days} days", title_justify="left")
    for head in ("mapping", "broke a rule", "defaults", "open dead letters", "waiting", "stale"):
        whole.add_column(head, justify="left" if head == "mapping" else "right", overflow="fold")
    for report in reports:
        numbers = (report.broken, report.defaults, report.open_dead_letters, report.waiting)
        whole.add_row(report.mapping, *map(str, numbers), _stale(report))
    return whole


def _rules(reports: Sequence[Report]) -> Table:
    rules = Table(title="by rule", title_justify="left")
    for head in ("mapping", "rule", "column", "rows", "last"):
        rules.add_column(head, justify="right" if head == "rows" else "left", overflow="fold")
    for report in reports:
        for count in report.counts:
            rules.add_row(
                report.mapping, count.rule, count.column, str(count.rows), str(count.last)
            )
    return rules


def _stale(report: Report) -> str:
    stale = report.stale
    return "-" if stale is None else f"{stale.rows} of {stale.of} ({stale.days:g} d)"
