"""``sink-runner conflicts``: what both databases changed, for a person to decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from typing import Any, TypeVar

import click
from rich.table import Table
from rich.text import Text

from ..config.reader import hint
from ..errors import ConfigError
from ..postgres.migrations import has_tables
from ..writer import conflict_store
from ..writer.conflict_store import ACTIONS, TYPES, Conflict, Connection, Wanted
from .arguments import (
    database_option,
    day,
    flag,
    json_option,
    most_option,
    number,
    user_option,
    wide_option,
)
from .command import FAILURE, OK, Group
from .configuration import chosen_databases, read_config
from .database import database_session
from .tables import print_table

EXTRA = ("table", "record", "by")
"""Columns that --wide adds."""
T = TypeVar("T")


@click.group(cls=Group)
def conflicts() -> None:
    """List conflicts between both databases, and resolve them.

      timestamp_conflict  both sides changed a row; the older change lost, or
                          both have the same time
      data_conflict       both sides have the same version with other values
      deletion_conflict   a row was deleted that the other side keeps; always
                          for a person

    Those that the mapping's rule decided are resolved from the start (`list --all` shows them); the
    others wait for `resolve`. Personal values are stored masked, and a record whose key is a
    personal number has a fingerprint instead.

    A number may occur in several databases; --database says which one you mean.

    examples:
      sink-runner conflicts list
      sink-runner conflicts list --all --type timestamp_conflict --json
      sink-runner conflicts show 17 --database south
      sink-runner conflicts resolve 17 --action target_wins \\
          --notes "moved abroad, record kept"
    """


@conflicts.command("list")
@flag("--all", "resolved", help="List the resolved ones, too.")
@click.option("--type", "kind", metavar="TYPE", help="Only this type, such as deletion_conflict.")
@click.option("--table", metavar="NAME", help="Only this target table.")
@click.option("--since", type=day, metavar="DATE", help="Found on this day, UTC, or later.")
@most_option(100)
@database_option
@wide_option
@json_option
def list_(
    *,
    resolved: bool,
    kind: str | None,
    table: str | None,
    since: date | None,
    most: int,
    database: str | None,
    wide: bool,
    as_json: bool,
) -> int:
    """List the open conflicts, newest first."""
    _check(kind, TYPES, "type")
    wanted = Wanted(resolved, kind, table, since, most)
    found = [
        (name, conflict)
        for name, here in _ask(database, lambda connection: conflict_store.find(connection, wanted))
        for conflict in here
    ]
    if as_json:
        print(json.dumps([_record(*one) for one in found], indent=2))
    elif found:
        print_table(_table(found), extra=EXTRA, wide=wide)
    else:
        print("no conflicts" if resolved else "no open conflicts")
    return OK


@conflicts.command()
@click.argument("conflict_id", type=number, metavar="ID")
@database_option
@json_option
def show(*, conflict_id: int, database: str | None, as_json: bool) -> int:
    """Show one conflict with both sides."""
    name, conflict = _find_one(conflict_id, database)
    if as_json:
        print(json.dumps(_record(name, conflict), indent=2))
    else:
        print_table(_sides(name, conflict))
    return OK


@conflicts.command()
@click.argument("conflict_id", type=number, metavar="ID")
@click.option("--action", required=True, metavar="ACTION", help="One of those below.")
@click.option("--notes", required=True, help="Why, for those who ask later.")
@user_option("Who decides.")
@database_option
@json_option
def resolve(
    *,
    conflict_id: int,
    action: str,
    notes: str,
    user: str,
    database: str | None,
    as_json: bool,
) -> int:
    """Record what was decided about a conflict.

    It records who decided what, and when, and adds an entry to the audit log. It changes no other
    row: what follows from the decision is done by the owner of the row.

      target_wins    the row of the target database is right; a deleted record
                     stays there
      source_wins    the row of the source database is right; a deleted record
                     should go, and its owner removes or deactivates it
      merged         a person has made one row of both
      manual_review  not decided: it stays open, with these notes

    Numbers and e-mail addresses in the notes are redacted before they are stored.
    """
    _check(action, ACTIONS, "action")
    if not notes.strip():
        raise ConfigError("--notes is empty: say why, for those who ask later")
    name, conflict = _find_one(conflict_id, database)
    ((_, done),) = _ask(
        name,
        lambda connection: conflict_store.resolve(
            connection, name, conflict.id, action=action, notes=notes, user=user
        ),
    )
    if as_json:
        print(json.dumps({"database": name, "id": conflict.id, "action": action, "done": done}))
    elif done:
        print(f"conflict {conflict.id} of {name}: {action}, by {user}")
    else:
        print(f"conflict {conflict.id} of {name} is resolved already: {conflict.action}")
    return OK if done else FAILURE


def _ask(database: str | None, work: Callable[[Connection], T]) -> list[tuple[str, T]]:
    """Return what `work` finds in each database that is meant and has the runner's tables."""
    config = read_config().config()
    found = []
    for name in chosen_databases(config.databases, database):
        with database_session(config, name, "sink-runner conflicts") as connection:
            if has_tables(connection):
                found.append((name, work(connection)))
    return found


def _find_one(number: int, database: str | None) -> tuple[str, Conflict]:
    """Return the conflict of this number, and its database."""
    results = _ask(database, lambda connection: conflict_store.get(connection, number))
    found = [(name, conflict) for name, conflict in results if conflict is not None]
    if not found:
        raise ConfigError(f"there is no conflict {number}; see `sink-runner conflicts list --all`")
    if len(found) > 1:
        names = " and ".join(name for name, _ in found)
        raise ConfigError(f"conflict {number} is in {names}: say which by --database")
    return found[0]


def _check(value: str | None, known: Iterable[str], what: str) -> None:
    if value is not None and value not in known:
        raise ConfigError(
            f"unknown {what} {value!r}{hint(value, known)}; expected one of {', '.join(known)}"
        )


def _record(database: str, conflict: Conflict) -> dict[str, Any]:
    times = {
        name: at.isoformat() if at else None
        for name, at in (("detected", conflict.detected), ("resolved", conflict.resolved))
    }
    return {"database": database} | asdict(conflict) | times


def _table(found: Iterable[tuple[str, Conflict]]) -> Table:
    table = Table(title="conflicts", title_justify="left")
    for head in ("database", "id", "type", "table", "record", "found", "action", "by"):
        table.add_column(head, overflow="fold")
    for database, one in found:
        facts = (one.type, one.table, one.record, f"{one.detected:%Y-%m-%d %H:%M}")
        cells = (database, str(one.id), *facts, one.action or "", one.resolved_by or "")
        table.add_row(*map(Text, cells))  # as it was written: some of it looks like markup
    return table


def _sides(database: str, conflict: Conflict) -> Table:
    state = conflict.action or "open"
    state += f" by {conflict.resolved_by}" if conflict.resolved_by else ""
    title = f"{conflict.type} {conflict.id} of {database}: {conflict.table} {conflict.record}"
    table = Table(
        title=Text(title, "table.title"),
        title_justify="left",
        caption=Text(state, "table.caption"),
        caption_justify="left",
    )
    for head in ("column", f"{conflict.source} (source)", f"{conflict.target} (target)"):
        table.add_column(head, overflow="fold")
    source, target = conflict.source_value or {}, conflict.target_value or {}
    for name in sorted({*source, *target}):
        cells = (name, str(source.get(name, "")), str(target.get(name, "")))
        table.add_row(*map(Text, cells))
    if conflict.notes:
        table.add_section()
        table.add_row("notes", Text(conflict.notes), "")
    return table
