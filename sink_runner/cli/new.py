"""``sink-runner new``: a plugin distribution to start from."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..config.sections import split_names
from ..scaffold import scaffold
from .command import OK, Subparsers, add_command

TEACHING = """\
The folder installs, loads and passes its tests as it stands; then declare the columns.

example:
  sink-runner new orders --source shop.public.orders --target crm.public.purchases \\
      --key order_id --version updated_at
  pip install --editable plugins/orders
  sink-runner plugins --chain orders
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "new",
        summary="write a new plugin: one table of one database into one of another",
        teaching=TEACHING,
    )
    parser.add_argument("name", help="name of the mapping, in kebab-case")
    table = "database.schema.table"
    parser.add_argument("--source", required=True, metavar=table, help="where rows come from")
    parser.add_argument("--target", required=True, metavar=table, help="where they go")
    parser.add_argument(
        "--key",
        required=True,
        metavar="COLUMN[,COLUMN]",
        help="columns of the target with a unique constraint",
    )
    parser.add_argument(
        "--version", required=True, metavar="COLUMN", help="column that says which row is newer"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("plugins"), help="where the folder goes (plugins)"
    )
    parser.set_defaults(run=partial(new, parser))


def new(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    try:
        folder = scaffold(
            args.root,
            args.name,
            source=args.source,
            target=args.target,
            key=split_names([args.key]),
            version=args.version,
        )
    except ValueError as exc:
        parser.error(str(exc))
    print(f"{folder}: now `pip install --editable {folder}` and `pytest {folder}`")
    return OK
