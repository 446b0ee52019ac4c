"""``sink-runner new``: a plugin distribution to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ..config.sections import split_names
from ..scaffold import scaffold
from .command import OK, Command

_TABLE = "database.schema.table"


@click.command(cls=Command)
@click.argument("name")
@click.option("--source", required=True, metavar=_TABLE, help="The table that is read.")
@click.option("--target", required=True, metavar=_TABLE, help="The table that is written.")
@click.option(
    "--key",
    required=True,
    metavar="COLUMN[,COLUMN]",
    help="Columns of the target with a unique constraint.",
)
@click.option(
    "--version", required=True, metavar="COLUMN", help="The column that decides which row is newer."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="ROOT",
    default=Path("plugins"),
    help="Where the folder is created.",
)
def new(*, name: str, source: str, target: str, key: str, version: str, root: Path) -> int:
    """Write a new plugin that maps one table to another.

    NAME is the mapping's, in kebab-case. The folder can be installed and passes its tests; then
    declare the columns.

    examples:
      sink-runner new orders --source shop.public.orders \\
          --target crm.public.purchases --key order_id --version updated_at
      pip install --editable plugins/orders
      sink-runner plugins --chain orders
    """
    try:
        folder = scaffold(
            root, name, source=source, target=target, key=split_names([key]), version=version
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    print(f"{folder}: now `pip install --editable {folder}` and `pytest {folder}`")
    return OK
