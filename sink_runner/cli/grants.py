"""``sink-runner grants``: the SQL that gives the roles what the mappings need."""

from __future__ import annotations

import click
from psycopg.conninfo import conninfo_to_dict

from ..postgres.grants import Roles
from ..postgres.grants import grants as grant_statements
from .arguments import database_option
from .command import OK, Command
from .configuration import (
    chosen_databases,
    loaded_plugins,
    mappings_of,
    read_config,
    read_plugins,
)


@click.command(cls=Command)
@database_option
@click.option("--capture", metavar="ROLE", default="sink_capture", help="Debezium's role.")
def grants(*, database: str | None, capture: str) -> int:
    """Print the GRANT statements for the roles.

    Paste the output into psql as a superuser, connected to the database; you can repeat it. It
    creates the roles without passwords (`\\password ROLE` sets one), and schema sink for the
    runner's tables. The roles that write and read are those of [databases.NAME] dsn and reader_dsn.
    What the SQL of a lookup or of a batch query reads is in a comment; `sink-runner schema check`
    names what is still missing.

    examples:
      sink-runner grants
      sink-runner grants --database south | psql -d south
    """
    file = read_config()
    config = file.config()
    names = chosen_databases(config.databases, database)
    mappings = mappings_of(loaded_plugins(read_plugins(file).values()))
    for name in names:
        found = config.databases[name]
        writer, reader = (
            str(conninfo_to_dict(dsn.conninfo())["user"]) for dsn in (found.dsn, found.reader_dsn)
        )
        print(f"-- database {name}")
        roles = Roles(capture=capture, writer=writer, reader=reader)
        print("\n".join(grant_statements(name, mappings, roles)))
    return OK
