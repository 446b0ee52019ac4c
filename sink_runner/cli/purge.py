"""``sink-runner purge``: delete what is past its retention from the runner's own tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .command import (
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    chosen_databases,
    loaded_plugins,
    read_config,
    read_plugins,
)

if TYPE_CHECKING:
    from ..postgres.session import Connection
    from ..retention.purge import Count, Purge

TEACHING = """\
Deletes rows of the runner's own tables that are older than [retention], remember_deletes_days and
api.remember_hours say, in transactions of 5,000 rows; of the audit log whole months.  It never
deletes open or deferred dead letters, open conflicts, runs of `sink-runner batch` that can be
resumed or that a later run looks up, nor anything of a target table.

`sink-runner run` does the same every [retention] purge_hours.  One process at a time purges a
database; a second one ends with 1.

examples:
  sink-runner purge --dry-run
  sink-runner purge --database south --json
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "purge",
        summary="delete what is past its retention from the runner's own tables",
        teaching=TEACHING,
    )
    parser.add_argument("--database", metavar="NAME", help="in this database (default: in all)")
    parser.add_argument("--dry-run", action="store_true", help="count the rows, and delete nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_choice_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..postgres.migrations import has_tables  # noqa: PLC0415
    from ..retention.purge import Purge  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    file = read_config(args)
    config = file.config()
    names = chosen_databases(config.databases, args.database)
    plugins = loaded_plugins(read_plugins(args, file).values())
    found = []
    for name in names:
        with asking(config, name, "sink-runner purge") as connection:
            if not has_tables(connection):
                continue
            purge = Purge(config, name, plugins)
            for count in _counts(purge, connection, dry_run=args.dry_run):
                found.append({"database": name, "table": f"sink.{count.table}", "rows": count.rows})
                if not args.json:
                    told = "would be deleted" if args.dry_run else "deleted"
                    print(f"{name}: sink.{count.table}: {count.rows} rows {told}", flush=True)
    if args.json:
        print(json.dumps(found, indent=2))
    return OK


def _counts(purge: Purge, connection: Connection, *, dry_run: bool) -> Iterator[Count]:
    return purge.count(connection) if dry_run else purge.run(connection)
