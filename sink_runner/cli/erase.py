"""``sink-runner erase``: remove one person's data from the runner's own tables."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import ConfigError
from ..inspection.service import DlqService
from ..postgres.catalog import read_table
from ..postgres.migrations import has_tables
from ..postgres.session import Connection
from ..retention.erase import Erased, Eraser
from ..retention.person import Person
from .arguments import database_option, flag, json_option, plugin_options, user_option
from .command import FAILURE, OK, Command
from .configuration import (
    chosen_databases,
    loaded_plugins,
    mappings_of,
    read_config,
    read_plugins,
)
from .database import database_session


@click.command(cls=Command)
@click.option(
    "--subject",
    "subjects",
    metavar="COLUMN",
    multiple=True,
    required=True,
    help="A column that holds the value; may be repeated.",
)
@click.option(
    "--value-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read the value from this file.",
)
@database_option
@flag("--dry-run", help="Count the rows, and change nothing.")
@user_option("The name for the audit log.")
@plugin_options
@json_option
def erase(
    *,
    subjects: tuple[str, ...],
    value_file: Path | None,
    database: str | None,
    dry_run: bool,
    user: str,
    as_json: bool,
) -> int:
    """Remove one person's data from the runner's tables.

    COLUMN is a column of a source or target table that a mapping copies. The person's value in it
    is read from the terminal without an echo, from standard input or from a file, and never from
    the command line, which other users see.

    The command looks the value up in source, target and candidate tables, and takes the keys of the
    rows that hold it. Then it removes what the runner keeps under these keys or of this value: dead
    letters and deferred events (it decrypts their payloads), conflicts, candidates, keys in the
    audit log, positions, keys of callbacks and of batch runs. Each database is one transaction, and
    its audit log gets an entry of type erase with the counts and no value.

    Deleting a row leaves its key in these tables, too. So do it in this order:

      1. Note the keys of the person's rows.
      2. Delete the rows in source and target; let the runners apply that.
      3. Call this for each key column with the key, and for the columns that
         dead letters of other rows may hold.

    While the rows are still there, a value of any column finds their keys.

    It does not erase:

      - rows of the source and target tables, Kafka's topics and backups
      - what was kept for mappings whose plugin is off or uninstalled
      - hashes of a key of which only a part is known, where no source or target
        row has the rest
      - keys that a mask or a plugin changed on the way to the target
      - keys_digest of large batches in the audit log, and encrypted keys of
        interrupted batch runs
      - fingerprints of settled dead letters whose Kafka key had an older schema
        than the latest
      - hashes of Idempotency-Keys, which the caller chose; they expire
      - names of operators in the audit log and in conflicts

    Positions of deleted rows are removed as well: an older event that Kafka still has may bring the
    row back. Values of 8 characters or more are also found within longer texts of dead letters and
    conflicts. Dead letters that cannot be decrypted or decoded are kept and counted, and the exit
    code is 1.

    examples:
      sink-runner erase --subject tax_number --dry-run
      sink-runner erase --subject email --value-file /run/secrets/person
    """
    file = read_config()
    config = file.config()
    names = chosen_databases(config.databases, database)
    plugins = read_plugins(file)
    loaded_plugins(plugins.values())
    service = DlqService(config, plugins, user)
    _check_columns(service, subjects)
    value = _read_value(value_file)
    found: dict[str, Erased] = {}
    for name in names:
        with database_session(config, name, "sink-runner erase") as connection:
            if has_tables(connection):
                persons = _persons(service, name, subjects, value, connection)
                found[name] = Eraser(service, name, persons).run(connection, dry_run=dry_run)
    _print(found, as_json=as_json, dry_run=dry_run)
    return FAILURE if any(one.unreadable for one in found.values()) else OK


def _persons(
    service: DlqService, database: str, subjects: Sequence[str], value: str, connection: Connection
) -> list[Person]:
    """Return the person's keys in the mappings that write to the database."""
    found = []
    for name, mapping in sorted(mappings_of(service.plugins.values()).items()):
        if mapping.target_table.database != database:
            continue
        target = read_table(connection, mapping.target_table)
        person = Person(name, mapping, target, list(subjects), value)
        person.find_in_target(connection)
        source = mapping.source_table
        if source.database in service.config.databases and mapping.query is None:
            with database_session(
                service.config, source.database, "sink-runner erase", reader=True
            ) as reader:
                person.find_in_source(reader, read_table(reader, source).primary_key)
        found.append(person)
    return found


def _check_columns(service: DlqService, subjects: Sequence[str]) -> None:
    """Raise ConfigError for a column that no mapping has."""
    mappings = mappings_of(service.plugins.values()).values()
    known = {name for one in mappings for name in one.source_columns}
    known |= {column.name for one in mappings for column in one.columns}
    if unknown := sorted({*subjects} - known):
        raise ConfigError(
            f"no mapping that is on has a column {', '.join(unknown)}: name a column of a source "
            "or target table"
        )


def _read_value(path: Path | None) -> str:
    """Return the value, without the end of its line."""
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
        records = [
            {"database": name, "rows": dict(one.rows), "unreadable": one.unreadable}
            for name, one in found.items()
        ]
        print(json.dumps(records, indent=2))
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
