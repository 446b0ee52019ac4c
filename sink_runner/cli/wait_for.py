"""``sink-runner wait-for``: wait until the target has everything of the source up to a point."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping

import click

from .. import log
from ..config import Config
from ..control.status import read_status
from ..errors import ConfigError
from ..loading import discovery
from ..plugin import TableMapping
from ..reconcile.position_wait import Reached, current_position, parse_lsn
from ..reconcile.position_wait import wait_for as wait
from ..signals import stopped_by_signals
from .arguments import flag, json_option, seconds
from .command import OK, Command
from .configuration import chosen_mappings, read_config, read_plugins
from .tables import print_lines

TIMED_OUT = 3


def lsn(text: str | int) -> int:
    """Return a position in the log."""
    if isinstance(text, int):
        return text
    try:
        return parse_lsn(text)
    except ValueError:
        raise click.BadParameter(f"expected a position such as 16/B374D848, got {text!r}") from None


@click.command("wait-for", cls=Command, exclusive=("--lsn", "--now"))
@click.argument("name", required=False)
@flag("--all", "every", help="Wait for every mapping that applies events; with --now.")
@click.option(
    "--lsn",
    "position",
    metavar="LSN",
    type=lsn,
    help="A position in the source's log, such as pg_current_wal_lsn() after the COMMIT.",
)
@flag("--now", help="The present end of the source's log.")
@click.option("--timeout", type=seconds, default=60.0, metavar="S", help="Wait S seconds at most.")
@json_option
def wait_for(
    *,
    name: str | None,
    every: bool,
    position: int | None,
    now: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Wait until the target has everything of the source up to a point.

    NAME is a mapping of `sink-runner plugins`. The point is a position in the log of its source
    database: Debezium has to confirm it to the replication slot, which in an idle database takes
    until the next heartbeat, and the mapping has to apply all events that Kafka has then. Events
    that a filter drops, echoes, dead letters and deferred events count as applied: `sink-runner
    explain` says what became of one row.

    The exit code is 0 if the point is reached, and 3 if not within the timeout; the output then
    says how far the mapping is, and why.

    examples:
      sink-runner wait-for golden-records --now
      sink-runner wait-for golden-records --lsn 16/B374D848 --timeout 5
      sink-runner wait-for --all --now --json
    """
    if every == (name is not None):
        raise click.UsageError("give the name of one mapping, or --all")
    if now == (position is not None):
        raise click.UsageError("give --lsn or --now")
    if every and not now:
        raise click.UsageError("--all goes with --now: a position is of one source's log")
    file = read_config()
    config, plugins = file.config(), read_plugins(file)
    log.configure(config.log)
    mappings = _streaming(chosen_mappings([] if name is None else [name], plugins), name)
    deadline = time.monotonic() + timeout
    # All positions are read first: an earlier mapping's wait must not move a later one's point.
    points = {
        each: position if position is not None else current_position(mapping, config)
        for each, mapping in mappings.items()
    }
    code, stop = OK, threading.Event()
    with stopped_by_signals(stop):
        for each, point in points.items():
            found = wait(each, mappings[each], config, point, deadline=deadline, stop=stop)
            _print(found, config, plugins, as_json=as_json)
            code = code if found.reached else TIMED_OUT
    return code


def _streaming(mappings: Mapping[str, TableMapping], name: str | None) -> dict[str, TableMapping]:
    found = {each: mapping for each, mapping in mappings.items() if mapping.streaming}
    if not found:
        if name is None:
            raise ConfigError("no mapping that is on applies events; see `sink-runner plugins`")
        raise ConfigError(f"mapping {name!r} applies no events: only batch runs write its rows")
    return found


def _print(
    found: Reached, config: Config, plugins: Mapping[str, discovery.Plugin], *, as_json: bool
) -> None:
    state, text = None, found.sentence
    if not found.reached:
        (report,) = read_status(config, [plugins[found.mapping]])
        state = report.state
        text += f"; {report.clause}"
    if as_json:
        print(json.dumps({**found._asdict(), "state": state}), flush=True)
    else:
        print_lines([text])
