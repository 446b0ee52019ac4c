"""``sink-runner erase``: remove one person's data from the runner's own tables."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .arguments import add_person, user_name
from .command import (
    FAILURE,
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
    from ..inspection.service import DlqService
    from ..postgres.session import Connection
    from ..retention.erase import Erased
    from ..retention.person import Person

TEACHING = """\
COLUMN is a column of a source or target table that a mapping copies.  The person's value in it is
read from a terminal without being shown, from standard input or from a file, and never from the
command line, which other users see.  Source, target and candidates are asked for the keys of the
rows that hold it; then what the runner keeps under these keys or of this value is removed: dead
letters, deferred ones included (their payloads are decrypted), conflicts, candidates, keys in the
audit log, positions, callback and batch keys.  Each database is one transaction, with a record of
event type erase in the audit log that has the counts and no value.

The deletion of a row leaves its key as well, so do it in this order: note the keys of the person's
rows; delete the rows in source and target, and let the runners apply that; then call this for each
key column with the key, and for the columns that dead letters of other rows may hold.  Where rows
are still there, a value of any column finds their keys.  It does not reach:

  the rows of the target and source tables, Kafka's topics and the backups
  what was kept for mappings whose plugin is off or gone
  hashes of a key of which only a part is known, where no source or target row has the rest
  keys that a mask or a plugin has changed on the way to the target
  keys_digest of large batches in the audit log, and encrypted keys of interrupted batch runs
  fingerprints of settled dead letters whose Kafka key had an older schema than the latest
  answers to Idempotency-Keys, which are hashes of what the caller chose; they expire
  names of operators in the audit log and in conflicts

Positions of deleted rows go with it: an older event that Kafka still has may bring the row back.
Values of 8 characters or more are found within longer texts of dead letters and conflicts, too.
Dead letters that can't be decrypted or decoded are kept and counted, and the command ends with 1.

examples:
  sink-runner erase --subject tax_number --dry-run
  sink-runner erase --subject email --value-file /run/secrets/person
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "erase",
        summary="remove one person's data from the runner's own tables",
        teaching=TEACHING,
    )
    parser.add_argument(
        "--subject",
        metavar="COLUMN",
        action="append",
        required=True,
        help="a column that holds the value; may be given more than once",
    )
    parser.add_argument(
        "--value-file", type=Path, metavar="FILE", help="read the value from this file"
    )
    parser.add_argument("--database", metavar="NAME", help="in this database (default: in all)")
    parser.add_argument("--dry-run", action="store_true", help="count the rows, and change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_person(parser, f"the name for the audit log ({user_name()})")
    add_choice_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..inspection.service import DlqService  # noqa: PLC0415
    from ..postgres.migrations import has_tables  # noqa: PLC0415
    from ..retention.erase import Eraser  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    file = read_config(args)
    config = file.config()
    names = chosen_databases(config.databases, args.database)
    plugins = read_plugins(args, file)
    loaded_plugins(plugins.values())
    bench = DlqService(config, plugins, args.user)
    _check_subjects(bench, args.subject)
    value = _value(args.value_file)
    found: dict[str, Erased] = {}
    for name in names:
        with asking(config, name, "sink-runner erase") as connection:
            if has_tables(connection):
                persons = _persons(bench, name, args.subject, value, connection)
                found[name] = Eraser(bench, name, persons).run(connection, dry_run=args.dry_run)
    _print(found, as_json=args.json, dry_run=args.dry_run)
    return FAILURE if any(one.unreadable for one in found.values()) else OK


def _persons(
    bench: DlqService, database: str, subjects: list[str], value: str, connection: Connection
) -> list[Person]:
    """The keys of the mappings that write to a database, as source and target know them."""
    from ..postgres.catalog import read_table  # noqa: PLC0415
    from ..retention.person import Person  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    found = []
    for name, plugin in sorted(bench.plugins.items()):
        mapping = plugin.mapping
        if mapping is None or mapping.target_table.database != database:
            continue
        target = read_table(connection, mapping.target_table)
        person = Person(name, mapping, target, subjects, value)
        person.ask_target(connection)
        source = mapping.source_table
        if source.database in bench.config.databases and mapping.query is None:
            with asking(bench.config, source.database, "sink-runner erase", reader=True) as reader:
                person.ask_source(reader, read_table(reader, source).primary_key)
        found.append(person)
    return found


def _check_subjects(bench: DlqService, subjects: list[str]) -> None:
    """Raise ConfigError for a column that no mapping has."""
    mappings = [one.mapping for one in bench.plugins.values() if one.mapping is not None]
    known = {name for one in mappings for name in one.source_columns}
    known |= {column.name for one in mappings for column in one.columns}
    if unknown := sorted({*subjects} - known):
        raise ConfigError(
            f"no mapping that is on has a column {', '.join(unknown)}: name a column of a source "
            "or target table"
        )


def _value(path: Path | None) -> str:
    """Read the value; a line's end behind it is not part of it."""
    try:
        if path is not None:
            text = path.read_text()
        elif sys.stdin.isatty():
            text = getpass.getpass("value: ")
        else:
            text = sys.stdin.read()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"the value can't be read: {type(fault).__name__}") from None
    text = text.rstrip("\r\n")
    if not text.strip() or "\0" in text:
        raise ConfigError("the value is empty or has a NUL: give one line, the person's value")
    return text


def _print(found: dict[str, Erased], *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        told = [
            {"database": name, "rows": dict(one.rows), "unreadable": one.unreadable}
            for name, one in found.items()
        ]
        print(json.dumps(told, indent=2))
        return
    done = "would be erased" if dry_run else "erased"
    for name, one in found.items():
        for table, rows in one.rows.items():
            print(f"{name}: sink.{table}: {rows} rows {done}")
        if one.unreadable:
            print(
                f"sink-runner: {name}: {one.unreadable} dead letters can't be read, so they were "
                "kept: `sink-runner dlq show ID` says why; add a key that is missing to "
                "[dead_letters] old_keys and call this again",
                file=sys.stderr,
            )
