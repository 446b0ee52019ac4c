"""``sink-runner recover``: make the mappings of a database fit that came back from a backup."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .. import log
from ..config.database import find_database
from ..loading import discovery
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    read_config,
    read_plugins,
)

if TYPE_CHECKING:
    from ..recovery.positions import Forgotten
    from ..recovery.recover import Finding

TEACHING = """\
A database that came back from a backup is older than what was told of it, in two ways.

as a target   its rows and the offsets they came from are of one moment, so the runner goes on from
              there by itself; this command says how much that is, and whether Kafka still has it
as a source   its log begins anew, further back.  What is remembered of the lost log would make
              every new change seem old; this command forgets it

Run it while no runner runs, once the events of before are applied, and before Debezium captures
anew.  docs/guide/disaster-recovery.md has every step.  The exit code is 1 if there are events of
before to apply first; nothing is changed then.

examples:
  sink-runner recover south --dry-run   what there is to do
  sink-runner recover south
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "recover",
        summary="make the mappings of a database fit that was restored from a backup",
        teaching=TEACHING,
    )
    add_choice_options(parser)
    parser.add_argument("database", metavar="DATABASE", help="the one that was restored")
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")
    parser.add_argument("--json", action="store_true", help="the report, for programs")
    parser.set_defaults(run=recover)


def recover(args: argparse.Namespace) -> int:
    file = read_config(args)
    config = file.config()
    log.configure(config.log)
    find_database(config.databases, args.database)
    chosen = [*discovery.usable(read_plugins(args, file).values())]
    # PostgreSQL and Kafka are not loaded by the commands that need none of them.
    from ..recovery.recover import forget_positions, look  # noqa: PLC0415

    findings = list(look(args.database, chosen, config))
    blocked = any(finding.blocks for finding in findings)
    forgotten: Mapping[str, Forgotten] = {}
    if not blocked and not args.dry_run:
        forgotten = forget_positions(args.database, chosen, config)
    if args.json:
        print(json.dumps(_record(findings, forgotten), indent=2))
    else:
        for line in _lines(args.database, findings, forgotten):
            print(line)
    return FAILURE if blocked else OK


def _record(findings: Sequence[Finding], forgotten: Mapping[str, Forgotten]) -> object:
    return [
        asdict(one)
        | {"forgotten": asdict(forgotten[one.mapping]) if one.mapping in forgotten else None}
        for one in findings
    ]


def _lines(
    database: str, findings: Sequence[Finding], forgotten: Mapping[str, Forgotten]
) -> list[str]:
    lines = [_line(one, forgotten.get(one.mapping)) for one in findings]
    if any(one.blocks for one in findings):
        lines.append("nothing was changed: let the runner apply these, stop it, and run this again")
    batches = [f"then run: sink-runner batch {one.mapping} --full" for one in findings if one.batch]
    if batches:
        batches.append(
            "a full batch removes what the source table does not have; rows that came by a "
            "callback of the API stay"
        )
    lines += batches
    return lines or [f"no mapping reads or writes {database}"]


def _line(one: Finding, forgotten: Forgotten | None) -> str:
    if one.blocks:
        return f"{one.mapping}: {one.behind:,} events of before are not applied yet"
    if one.missing:
        return f"{one.mapping}: Kafka no longer has {one.missing:,} events that are missing here"
    if one.writes:
        return f"{one.mapping}: {one.behind:,} events to apply again"
    if forgotten is None:
        return f"{one.mapping}: all events of before are applied"
    told = f"{forgotten.positions:,} positions forgotten"
    if forgotten.dead_letters:
        told += f", {forgotten.dead_letters:,} dead letters of before discarded"
    if forgotten.left:
        told += f"; {forgotten.left:,} are left: `sink-runner dlq` replays or discards them first"
    return f"{one.mapping}: {told}"
