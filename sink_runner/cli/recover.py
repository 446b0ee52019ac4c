"""``sink-runner recover``: prepare the mappings of a database that was restored from a backup."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import click

from .. import log
from ..config.database import find_database
from ..loading import discovery
from ..recovery.positions import Forgotten
from ..recovery.recover import Finding, find_mappings, forget_positions
from .arguments import flag, json_option, plugin_options
from .command import FAILURE, OK, Command
from .configuration import read_config, read_plugins


@click.command(cls=Command)
@click.argument("database")
@flag("--dry-run", help="Print what there is to do, and change nothing.")
@plugin_options
@json_option
def recover(*, database: str, dry_run: bool, as_json: bool) -> int:
    """Prepare the mappings of a database that was restored.

    A restored DATABASE is older than what was recorded about it, in two ways:

      as a target  its rows and their offsets are of the same moment, so the
                   runner continues there; this command prints how many events
                   that is, and whether Kafka still has them
      as a source  its log starts further back. Positions that were recorded
                   from the lost log would make every new change look old; this
                   command forgets them

    Run it while no runner runs, after the events from before the restore are applied, and before
    Debezium captures again: see docs/guide/disaster-recovery.md. The exit code is 1 if such
    events are still to be applied; nothing is changed then.

    examples:
      sink-runner recover south --dry-run
      sink-runner recover south
    """
    file = read_config()
    config = file.config()
    log.configure(config.log)
    find_database(config.databases, database)
    chosen = [*discovery.usable(read_plugins(file).values())]
    findings = list(find_mappings(database, chosen, config))
    blocked = any(finding.blocks for finding in findings)
    forgotten: Mapping[str, Forgotten] = {}
    if not blocked and not dry_run:
        forgotten = forget_positions(database, chosen, config)
    if as_json:
        print(json.dumps(_record(findings, forgotten), indent=2))
    else:
        lines = [*_lines(findings, forgotten)]
        print("\n".join(lines) or f"no mapping reads or writes {database}")
    return FAILURE if blocked else OK


def _record(findings: Sequence[Finding], forgotten: Mapping[str, Forgotten]) -> object:
    return [
        asdict(one)
        | {"forgotten": asdict(forgotten[one.mapping]) if one.mapping in forgotten else None}
        for one in findings
    ]


def _lines(findings: Sequence[Finding], forgotten: Mapping[str, Forgotten]) -> Iterator[str]:
    for one in findings:
        yield f"{one.mapping}: {_state(one, forgotten.get(one.mapping))}"
    if any(one.blocks for one in findings):
        yield "nothing was changed: let the runner apply these, stop it, and run this again"
    batches = [one for one in findings if one.batch]
    for one in batches:
        yield f"then run: sink-runner batch {one.mapping} --full"
    if batches:
        yield (
            "a full batch removes what the source table does not have; rows that came by a "
            "callback of the API stay"
        )


def _state(one: Finding, forgotten: Forgotten | None) -> str:
    if one.blocks:
        return f"{one.unapplied:,} events from before the restore are not applied yet"
    if one.missing:
        return f"Kafka no longer has {one.missing:,} events that are missing here"
    if one.writes:
        return f"{one.unapplied:,} events to apply again"
    if forgotten is None:
        return "all events from before the restore are applied"
    text = f"{forgotten.positions:,} positions forgotten"
    if forgotten.dead_letters:
        text += f", {forgotten.dead_letters:,} dead letters from before the restore discarded"
    if forgotten.left:
        text += f"; {forgotten.left:,} are left: `sink-runner dlq` replays or discards them first"
    return text
