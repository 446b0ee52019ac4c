"""``sink-runner purge``: delete what is past its retention from the runner's own tables."""

from __future__ import annotations

import json

import click

from ..postgres.migrations import has_tables
from ..retention.purge import Purge
from .arguments import database_option, flag, json_option, plugin_options
from .command import OK, Command
from .configuration import chosen_databases, loaded_plugins, read_config, read_plugins
from .database import database_session


@click.command(cls=Command)
@database_option
@flag("--dry-run", help="Count the rows, and delete nothing.")
@plugin_options
@json_option
def purge(*, database: str | None, dry_run: bool, as_json: bool) -> int:
    """Delete what is past its retention from the runner's tables.

    [retention], remember_deletes_days and api.remember_hours say how long rows are kept. It deletes
    them in transactions of 5,000 rows; of the audit log whole months. It never deletes open dead
    letters, deferred events, open conflicts, runs of `sink-runner batch` that can be resumed or
    that a later run needs, nor anything of a target table.

    `sink-runner run` does the same every [retention] purge_hours. One process at a time purges a
    database; a second one exits with 1.

    examples:
      sink-runner purge --dry-run
      sink-runner purge --database south --json
    """
    file = read_config()
    config = file.config()
    names = chosen_databases(config.databases, database)
    plugins = loaded_plugins(read_plugins(file).values())
    done = "would be deleted" if dry_run else "deleted"
    found = []
    for name in names:
        with database_session(config, name, "sink-runner purge") as connection:
            if not has_tables(connection):
                continue
            work = Purge(config, name, plugins)
            for count in work.count(connection) if dry_run else work.run(connection):
                found.append({"database": name, "table": f"sink.{count.table}", "rows": count.rows})
                if not as_json:
                    print(f"{name}: sink.{count.table}: {count.rows} rows {done}", flush=True)
    if as_json:
        print(json.dumps(found, indent=2))
    return OK
