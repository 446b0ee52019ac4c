"""``sink-runner migrate``: bring the runner's own tables to the layout of this version."""

from __future__ import annotations

import argparse

from .command import (
    OK,
    Subparsers,
    add_command,
    loaded_plugins,
    read_config,
    read_plugins,
)

TEACHING = """\
Every command that writes does this when it starts; call it to upgrade before the runners restart.
The tables are in schema sink of each target database, which its role owns:

  CREATE SCHEMA sink AUTHORIZATION <role of [databases.NAME] dsn>

Each migration is one transaction, applied once and recorded in sink.migration.  Runners of an
older version may be running: a migration waits for their batches and they wait for it.  If it
moved a table that they use, their next batch is rolled back and they stop; a runner of this
version continues at the offset that they reached.  A downgrade is not possible.

examples:
  sink-runner migrate
  sink-runner migrate --database south
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "migrate", summary="upgrade the runner's own tables", teaching=TEACHING
    )
    parser.add_argument(
        "--database", metavar="NAME", help="in this database (default: the targets of all mappings)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..postgres.migrations import migrate  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    args.only, args.without = [], []
    file = read_config(args)
    config = file.config()
    if args.database is not None:
        names = {args.database}
    else:
        plugins = loaded_plugins(read_plugins(args, file).values())
        names = {one.mapping.target_table.database for one in plugins if one.mapping is not None}
    for name in sorted(names):
        with asking(config, name, "sink-runner migrate") as connection:
            applied = migrate(connection)
        done = ", ".join(f"{one.number} {one.name}" for one in applied)
        print(f"{name}: applied {done}" if applied else f"{name}: nothing to do")
    return OK
