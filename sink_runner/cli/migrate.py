"""``sink-runner migrate``: bring the runner's own tables to the layout of this version."""

from __future__ import annotations

import click

from ..postgres import migrations
from .command import OK, Command
from .configuration import loaded_plugins, mappings_of, read_config, read_plugins
from .database import database_session


@click.command(cls=Command)
@click.option(
    "--database", metavar="NAME", help="This database; otherwise the targets of all mappings."
)
def migrate(*, database: str | None) -> int:
    """Upgrade the runner's own tables.

    Every command that writes does this when it starts; call it to upgrade before the runners
    restart. The tables are in schema sink of each target database, which the runner's role owns:

      CREATE SCHEMA sink AUTHORIZATION <role of [databases.NAME] dsn>

    Each migration is one transaction, applied once and recorded in sink.migration. Runners of an
    older version may run: a migration and their batches wait for each other. If it moved a table
    that they use, their next batch is rolled back and they stop; a runner of this version continues
    at their offset. A downgrade is not possible.

    examples:
      sink-runner migrate
      sink-runner migrate --database south
    """
    file = read_config()
    config = file.config()
    if database is not None:
        names = {database}
    else:
        mappings = mappings_of(loaded_plugins(read_plugins(file).values()))
        names = {mapping.target_table.database for mapping in mappings.values()}
    for name in sorted(names):
        with database_session(config, name, "sink-runner migrate") as connection:
            applied = migrations.migrate(connection)
        done = ", ".join(f"{one.number} {one.name}" for one in applied)
        print(f"{name}: applied {done}" if applied else f"{name}: nothing to do")
    return OK
