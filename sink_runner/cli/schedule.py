"""``sink-runner schedule``: run each mapping's batch and reconciliation when it is due."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import click
import structlog

from .. import log
from ..config import Config, ConfigFile
from ..config.reader import hint
from ..config.sections import Scheduling
from ..errors import ConfigError
from ..loading import discovery
from ..loading.quarantine import loaded, select_usable
from ..schedule import loop
from ..schedule.as_json import describe
from ..schedule.plans import Plan, PlanState, next_start, plans_of
from ..schedule.run_history import read_states
from .arguments import flag, json_option, wide_option
from .command import EX_CONFIG, OK, Command
from .configuration import mappings_of, read_config, read_plugins
from .tables import aligned, print_lines

HEADS = ("NAME", "CRON", "MODE", "LAST RUN", "OUTCOME", "NEXT RUN")


@click.command(cls=Command, exclusive=("--once", "--list"))
@flag("--once", help="Run what is due now, then exit.")
@flag("--list", "as_list", help="Print each schedule with its last and next run.")
@wide_option
@json_option
def schedule(*, once: bool, as_list: bool, wide: bool, as_json: bool) -> int:
    """Run each mapping's batch and reconciliation when it is due.

    Runs `sink-runner batch` for every schedule of the mappings that are on, and `sink-runner
    reconcile` at the times of [schedule.reconcile], until SIGTERM or Ctrl-C. A run that fails is
    tried again. If runs were missed, by maintenance or because this program was stopped, one run
    makes up for all of them. [schedule] in sink-runner.toml has the settings; `sink-runner config`
    explains them. If Apache Airflow runs the batches, do not run this as well.

    --json prints the schedules instead of running them; with --list, their runs, too.

    examples:
      sink-runner schedule
      sink-runner schedule --once
      sink-runner schedule --list
      sink-runner schedule --list --json
      SINK_PLUGINS=schemes sink-runner schedule
    """
    file = read_config()
    plugins = read_plugins(file)
    plans = _plans(file, plugins, loaded(plugins.values()))
    if as_json and once:
        raise ConfigError("--json prints the schedules, so --once has no meaning beside it")
    if as_json and not as_list:
        print(json.dumps(describe(plans, plugins, file), indent=2))
        return EX_CONFIG if any(plugin.errors for plugin in plugins.values()) else OK
    config = file.config()
    dsns = {name: database.dsn for name, database in config.databases.items()}
    if as_list:
        _print(plans, read_states(plans, dsns), config, wide=wide, as_json=as_json)
        return OK
    log.configure(config.log)
    selection = select_usable(plugins.values())
    for name, reason in sorted(selection.quarantined.items()):
        structlog.get_logger().error("mapping_quarantined", mapping=name, reason=reason)
    plans = _plans(file, plugins, selection.usable)
    return loop.run(plans, config, dsns, file.path, once=once)


def _plans(
    file: ConfigFile, plugins: dict[str, discovery.Plugin], chosen: Iterable[discovery.Plugin]
) -> list[Plan]:
    """Return the schedules of the chosen plugins."""
    settings = file.scheduling()
    for name in sorted(settings.mappings.keys() - plugins.keys()):
        raise ConfigError(f"[schedule.mappings.{name}]: not installed{hint(name, plugins)}")
    return plans_of(mappings_of(chosen), settings)


def _print(
    plans: Sequence[Plan],
    known: Mapping[Plan, PlanState],
    config: Config,
    *,
    wide: bool,
    as_json: bool,
) -> None:
    now = datetime.now(UTC)
    rows = [_row(plan, known.get(plan), config.schedule, now) for plan in plans]
    if as_json:
        print(json.dumps([_record(row) for row in rows], indent=2))
    else:
        print_lines(_lines(rows, wide=wide), wide=wide)


def _lines(rows: Sequence[tuple[str, ...]], *, wide: bool) -> Iterator[str]:
    """Yield a head and a line for each schedule, with its times in UTC; its cron text if `wide`."""
    if not rows:
        yield "no mapping that is on has a schedule"
        return
    rows = [HEADS, *rows]
    if not wide:
        rows = [(name, *rest) for name, _, *rest in rows]
    yield from aligned(rows)


def _row(
    plan: Plan, known: PlanState | None, settings: Scheduling, now: datetime
) -> tuple[str, ...]:
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
