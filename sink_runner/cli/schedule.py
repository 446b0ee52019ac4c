"""``sink-runner schedule``: run each mapping's batch when it is due."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from .. import log
from ..config import ConfigFile
from ..config.reader import hint
from ..config.sections import Scheduling
from ..errors import ConfigError
from ..loading import discovery
from ..loading.quarantine import loaded, select_usable
from ..schedule.as_json import describe
from ..schedule.plans import Known, Plan, next_start, plans_of
from .command import EX_CONFIG, OK, Subparsers, add_command, read_config, read_plugins

TEACHING = """\
Runs `sink-runner batch` for every schedule of the mappings that are on, until SIGTERM or Ctrl-C.
What fails is tried again; what was missed, by maintenance or because this was not running, is
caught up once.  [schedule] in sink-runner.toml says how; `sink-runner config` explains it.
Where Apache Airflow does this instead, let it be the only one that does.

examples:
  sink-runner schedule
  sink-runner schedule --once
  sink-runner schedule --list
  sink-runner schedule --list --json
  SINK_PLUGINS=schemes sink-runner schedule
"""
HEADS = ("NAME", "CRON", "MODE", "LAST RUN", "OUTCOME", "NEXT RUN")


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "schedule",
        summary="run each mapping's batch when it is due",
        teaching=TEACHING,
    )
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--once", action="store_true", help="run what is due now, then end")
    alone.add_argument("--list", action="store_true", help="each schedule, its last and next run")
    parser.add_argument(
        "--json", action="store_true", help="print the schedules as JSON; --list adds their runs"
    )
    parser.set_defaults(run=schedule)


def schedule(args: argparse.Namespace) -> int:
    file = read_config(args)
    args.only, args.without = [], []  # which a batch would not be told
    plugins = read_plugins(args, file)
    plans = _plans(file, plugins, loaded(plugins.values()))
    if args.json and args.once:
        raise ConfigError("--json prints the schedules, so --once has no meaning beside it")
    if args.json and not args.list:
        print(json.dumps(describe(plans, plugins, file), indent=2))
        return EX_CONFIG if any(plugin.errors for plugin in plugins.values()) else OK
    config = file.config()
    dsns = {name: database.dsn for name, database in config.databases.items()}
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..schedule import loop as schedule_loop  # noqa: PLC0415
    from ..schedule.run_history import look_up  # noqa: PLC0415

    if args.list:
        known, now = look_up(plans, dsns), datetime.now(UTC)
        if args.json:
            rows = [_row(plan, known.get(plan), config.schedule, now) for plan in plans]
            print(json.dumps([_record(row) for row in rows], indent=2))
            return OK
        for line in table(plans, known, config.schedule, now):
            print(line)
        return OK
    log.configure(config.log)
    selection = select_usable(plugins.values())
    for name, reason in sorted(selection.quarantined.items()):
        structlog.get_logger().error("mapping_quarantined", mapping=name, reason=reason)
    plans = _plans(file, plugins, selection.usable)
    return schedule_loop.run(plans, config, dsns, file.path, once=args.once)


def _plans(
    file: ConfigFile, plugins: dict[str, discovery.Plugin], chosen: Iterable[discovery.Plugin]
) -> list[Plan]:
    """Return the schedules of the chosen plugins."""
    settings = file.scheduling()
    for name in sorted(settings.mappings.keys() - plugins.keys()):
        raise ConfigError(f"[schedule.mappings.{name}]: not installed{hint(name, plugins)}")
    on = {plugin.name: plugin.mapping for plugin in chosen if plugin.mapping}
    return plans_of(on, settings)


def table(
    plans: Sequence[Plan],
    known: Mapping[Plan, Known],
    settings: Scheduling,
    now: datetime,
) -> Iterator[str]:
    """Yield a head and a line for each schedule; times are UTC."""
    if not plans:
        yield "no mapping that is on has a schedule"
        return
    rows = [HEADS, *(_row(plan, known.get(plan), settings, now) for plan in plans)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _row(plan: Plan, known: Known | None, settings: Scheduling, now: datetime) -> tuple[str, ...]:
    return (
        plan.mapping,
        plan.cron.expression,
        plan.mode,
        _text(known.started_at) if known and known.started_at else "-",
        (known and known.outcome) or "-",
        _text(next_start(plan, known.progress if known else None, settings, now)),
    )


def _record(row: tuple[str, ...]) -> dict[str, str | None]:
    names = (head.lower().replace(" ", "_") for head in HEADS)
    return {name: None if cell == "-" else cell for name, cell in zip(names, row, strict=True)}


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"
