"""``sink-runner audit``: what was done to the targets, batch by batch."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from .arguments import number
from .command import OK, Subparsers, add_command, read_config
from .tables import print_table

if TYPE_CHECKING:
    from ..writer.audit import Entry

TEACHING = """\
A line stands for a batch: from which offsets, how many rows, which columns the policies of which
version masked.  A batch of few rows names their keys; personal ones are fingerprints.  Of a run of
`sink-runner batch` a line has the run's number and, for many rows, from which key of the source to
which they were read (source_keys); rows of which that would not tell are named one by one.

Or it stands for what somebody did with at most 100 dead letters, each named: read_masked,
read_clear, replay, discard.  The log holds no value of a row.

It is in sink.audit_log of each target database, which the runner adds to and does not change.

examples:
  sink-runner audit
  sink-runner audit --mapping golden-records --since 2026-01-31
  sink-runner audit --json --most 1000
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "audit", summary="show what was written, by which policies", teaching=TEACHING
    )
    parser.add_argument("--mapping", metavar="NAME", help="of this mapping (default: all)")
    parser.add_argument(
        "--since", type=date.fromisoformat, metavar="DATE", help="of this day, UTC, and later"
    )
    parser.add_argument("--most", type=number, default=50, metavar="N", help="the last N (50)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    entries = _entries(args)
    if args.json:
        print(json.dumps([asdict(one) | {"at": one.at.isoformat()} for one in entries], indent=2))
    else:
        print_table(_table(entries))
    return OK


def _entries(args: argparse.Namespace) -> list[Entry]:
    """The latest of all databases that have a log, the newest first."""
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..postgres.migrations import has_tables  # noqa: PLC0415
    from ..writer.audit import read_audit  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    found: list[Entry] = []
    config = read_config(args).config()
    for name in config.databases:
        with asking(config, name, "sink-runner audit") as connection:
            if has_tables(connection):
                found += read_audit(
                    connection, mapping=args.mapping, since=args.since, most=args.most
                )
    return sorted(found, key=lambda one: one.at, reverse=True)[: args.most]


def _table(entries: list[Entry]) -> Table:
    table = Table(title="audit, UTC", title_justify="left")
    for head in ("at", "what", "mapping or user", "target", "rows", "masked", "policies"):
        table.add_column(head, overflow="fold")
    for one in entries:
        details: dict[str, Any] = one.details
        kinds = ("rows", "errors", "conflicts", "letters")
        rows = next((details[kind] for kind in kinds if details.get(kind)), "")
        cells = (
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            " ".join(filter(None, (one.event_type, one.operation, details.get("action")))),
            details.get("mapping") or one.user or "",
            one.table or "",
            str(rows),
            ", ".join(one.masked or ()),
            str(details.get("policy_version", "")),
        )
        table.add_row(*map(Text, cells))  # a name may look like markup
    return table
