"""``sink-runner audit``: what was done to the targets, batch by batch."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..postgres.migrations import has_tables
from ..writer.audit import Entry, read_audit
from .arguments import day, json_option, most_option, wide_option
from .command import OK, Command
from .configuration import read_config
from .database import database_session
from .tables import print_table

EXTRA = ("target", "masked", "policies")
"""Columns that --wide adds."""


@click.command(cls=Command)
@click.option("--mapping", metavar="NAME", help="Only this mapping.")
@click.option("--since", type=day, metavar="DATE", help="On this day, UTC, or later.")
@most_option(50)
@wide_option
@json_option
def audit(*, mapping: str | None, since: date | None, most: int, wide: bool, as_json: bool) -> int:
    """Show what was written, and which policies masked it.

    An entry describes one batch: its offsets, how many rows, which columns were masked, by which
    version of the policies. A batch of few rows names their keys; personal keys are fingerprints.
    An entry of `sink-runner batch` has the number of the run. If it wrote many rows, it has the
    range of keys that were read from the source (source_keys), and names the rows outside of it.

    Other entries record what a person did with up to 100 dead letters: read_masked, read_clear,
    replay or discard. The log holds no value of a row.

    The entries are in sink.audit_log of each target database. The runner adds to it, and never
    changes an entry.

    examples:
      sink-runner audit
      sink-runner audit --mapping golden-records --since 2026-01-31
      sink-runner audit --json --most 1000
    """
    found: list[Entry] = []
    config = read_config().config()
    for name in config.databases:
        with database_session(config, name, "sink-runner audit") as connection:
            if has_tables(connection):
                found += read_audit(connection, mapping=mapping, since=since, most=most)
    entries = sorted(found, key=lambda entry: entry.at, reverse=True)[:most]
    if as_json:
        print(json.dumps([asdict(one) | {"at": one.at.isoformat()} for one in entries], indent=2))
    else:
        print_table(_table(entries), extra=EXTRA, wide=wide)
    return OK


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
