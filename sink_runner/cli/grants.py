"""``sink-runner grants``: the SQL that gives the roles what the mappings need."""

from __future__ import annotations

import argparse

from .command import (
    OK,
    Subparsers,
    add_command,
    chosen_databases,
    loaded_plugins,
    read_config,
    read_plugins,
)

TEACHING = """\
Paste the output into psql as a superuser, connected to that database; it may run again.  It makes
the roles without passwords (`\\password ROLE` sets one), and schema sink for the runner's tables.
The roles that write and read are those of [databases.NAME] dsn and reader_dsn; capture is
Debezium's.  What the SQL of a lookup or of a batch query reads is in a comment;
`sink-runner schema check` names what is still missing.

examples:
  sink-runner grants
  sink-runner grants --database south | psql -d south
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "grants", summary="print the GRANT statements for the roles", teaching=TEACHING
    )
    parser.add_argument("--database", metavar="NAME", help="of this database (default: all)")
    parser.add_argument(
        "--capture", metavar="ROLE", default="sink_capture", help="Debezium's role (sink_capture)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    from ..postgres.grants import Roles, grants  # noqa: PLC0415

    args.only, args.without = [], []
    file = read_config(args)
    config = file.config()
    names = chosen_databases(config.databases, args.database)
    plugins = loaded_plugins(read_plugins(args, file).values())
    mappings = {one.name: one.mapping for one in plugins if one.mapping is not None}
    for name in names:
        reach = config.databases[name]
        writer, reader = (
            str(conninfo_to_dict(dsn.conninfo())["user"]) for dsn in (reach.dsn, reach.reader_dsn)
        )
        print(f"-- database {name}")
        roles = Roles(capture=args.capture, writer=writer, reader=reader)
        print("\n".join(grants(name, mappings, roles)))
    return OK
