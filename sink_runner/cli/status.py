"""``sink-runner status``: the state of each mapping, and what to do about it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from ..config import ConfigFile
from ..control.status import MappingReport, read_status
from ..errors import ConfigError
from .arguments import flag, json_option, wide_option
from .command import FAILURE, OK, Command
from .configuration import check_installed, read_config, read_plugins
from .tables import aligned, print_lines

_WATCH_SECONDS = 2.0
_HEADS = ("mapping", "state", "lag", "events", "last event", "dead", "verified")
_WIDE_HEADS = ("source", "target", "source commit", "runners")


@click.command(cls=Command)
@click.argument("name", required=False)
@wide_option
@flag("--watch", help="Print it again every two seconds, until Ctrl-C.")
@json_option
def status(*, name: str | None, wide: bool, watch: bool, as_json: bool) -> int:
    """Show the state of each mapping, and what to do about it.

    NAME is a mapping; without one all are shown. The runners report their state to the target
    databases every five seconds, so the command also works where no runner can be reached.

      running      events are applied
      starting     the runner checks tables, grants and topics
      paused       a person paused it: `sink-runner resume NAME`
      waiting      it retries, as a database, Kafka or a policy is missing
      quarantined  its configuration, a table or a grant is wrong
      stopped      it ended by an error, and needs a restart of the runner
      scheduled    it has no events: `sink-runner schedule` writes it
      unknown      no runner has reported for a minute

    lag is the age of the oldest event that is not applied, dead the number of open dead letters,
    verified the time through which `sink-runner reconcile` found both sides equal. All times are
    UTC. The exit code is 0 if every mapping is running or scheduled, else 1.

    examples:
      sink-runner status
      sink-runner status golden-records --json
      sink-runner status --watch
    """
    file = read_config()
    reports = _read(file, name)
    while watch:
        click.clear()
        _print(reports, wide=wide, as_json=as_json)
        time.sleep(_WATCH_SECONDS)
        reports = _read(file, name)
    _print(reports, wide=wide, as_json=as_json)
    return FAILURE if any(one.needs_person for one in reports) else OK


def _read(file: ConfigFile, name: str | None) -> list[MappingReport]:
    plugins = read_plugins(file)
    if name is not None:
        check_installed([name], plugins)
        plugins = {name: plugins[name]}
    found = read_status(file.config(), plugins.values())
    if name is not None and not found:
        raise ConfigError(f"plugin {name!r} is off, or has no mapping; see `sink-runner plugins`")
    return found


def _print(reports: Sequence[MappingReport], *, wide: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps([one.as_dict() for one in reports], indent=2))
        return
    heads = [*_HEADS, *(_WIDE_HEADS if wide else ())]
    first, *lines = aligned([heads, *(_row(one, wide=wide) for one in reports)])
    print(first)
    for report, line in zip(reports, lines, strict=True):
        print(line)
        print_lines((f"  {note}" for note in _notes(report)), indent=4)


def _row(report: MappingReport, *, wide: bool) -> list[str]:
    cells = [
        report.mapping,
        report.state,
        _duration(report.lag_seconds),
        "-" if report.lag_events is None else f"{report.lag_events:,}",
        _moment(report.last_event_at),
        "-" if report.open_dead_letters is None else f"{report.open_dead_letters:,}",
        _moment(report.verified_through),
    ]
    if wide:
        runners = ", ".join(report.runners) or "-"
        cells += [report.source, report.target, _moment(report.applied_commit_at), runners]
    return cells


def _notes(report: MappingReport) -> Iterator[str]:
    """Yield why a mapping does not run, and what to do."""
    if report.reason:
        yield f"reason: {report.reason}"
    if report.way_out:
        yield f"way out: {report.way_out}"
    if report.next_try:
        yield f"next try: {_moment(report.next_try)}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _moment(time: datetime | None) -> str:
    """Return the time of day, with the date if it was on another day."""
    if time is None:
        return "-"
    time = time.astimezone(UTC)
    is_today = time.date() == datetime.now(UTC).date()
    return f"{time:%H:%M:%S}" if is_today else f"{time:%m-%d %H:%M}"
