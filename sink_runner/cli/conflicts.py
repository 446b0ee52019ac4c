"""``sink-runner conflicts``: what both sides changed, for a person to look at and decide."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table
from rich.text import Text

from ..config import Config
from ..config.reader import hint
from ..errors import ConfigError
from .arguments import add_person, number
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_command,
    add_config_option,
    chosen_databases,
    read_config,
)
from .tables import print_table

if TYPE_CHECKING:
    from ..writer.conflict_store import Conflict, Connection

T = TypeVar("T")

TEACHING = """\
timestamp_conflict  both sides changed a row, and the older change lost, or the times are a tie
data_conflict       the same version of a row, with other values on each side
deletion_conflict   a row was deleted that the other side keeps; always for a person

Those that the mapping's rule decided are resolved from the start (--all lists them); the others
wait for `resolve`.  Personal values are masked where they are stored, so nothing here shows them,
and a record that would be known by a personal number has a fingerprint in its place.

A number may occur in several databases; --database says which is meant.

examples:
  sink-runner conflicts list
  sink-runner conflicts list --all --type timestamp_conflict --since 2026-01-31 --json
  sink-runner conflicts show 17 --database south
  sink-runner conflicts resolve 17 --action target_wins --notes "moved abroad, record kept"
"""
RESOLVING = """\
It writes down who decided what, and when, and adds a line to the audit log.  It changes no other
row, whatever the action: what follows from the decision is done where the row belongs.

  target_wins    the row of the target database is right.  In a deletion_conflict: the record
                 stays, and nothing is left to do
  source_wins    the row of the source database is right.  In a deletion_conflict: the record
                 should go, and its owner removes or deactivates it; the runner has no right to
  merged         a person has made one row of both, where it belongs
  manual_review  not decided: it stays open, with these notes

Numbers and e-mail addresses in the notes are hidden before they are stored.
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "conflicts",
        summary="list what both sides changed, and record what was decided",
        teaching=TEACHING,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = _add(commands, "list", "the open conflicts, newest first", run_list)
    listing.add_argument("--all", action="store_true", help="those that are resolved, too")
    listing.add_argument("--type", metavar="TYPE", help="such as deletion_conflict")
    listing.add_argument("--table", metavar="NAME", help="of this target table")
    listing.add_argument(
        "--since", type=date.fromisoformat, metavar="DATE", help="found on this day, UTC, or later"
    )
    listing.add_argument("--most", type=number, default=100, metavar="N", help="at most N (100)")
    shown = _add(commands, "show", "one conflict with both sides", run_show)
    shown.add_argument("id", type=number, metavar="ID")
    resolving = _add(commands, "resolve", "record what was decided", run_resolve, RESOLVING)
    resolving.add_argument("id", type=number, metavar="ID")
    resolving.add_argument("--action", required=True, metavar="ACTION", help="see below")
    resolving.add_argument("--notes", required=True, help="why, for those who ask later")
    add_person(resolving, "who decides ($USER)")


def _add(
    commands: Any,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    teaching: str = "",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=teaching,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_option(parser)
    parser.add_argument("--database", metavar="NAME", help="in this target database (default: all)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)
    return parser


def run_list(args: argparse.Namespace) -> int:
    # PostgreSQL's driver is not loaded by the commands that need none.
    from ..writer.conflict_store import TYPES, Wanted, find  # noqa: PLC0415

    _check(args.type, TYPES, "type")
    wanted = Wanted(args.all, args.type, args.table, args.since, args.most)
    found = [
        (name, conflict)
        for name, conflicts in _asked(args, lambda connection: find(connection, wanted))
        for conflict in conflicts
    ]
    if args.json:
        print(json.dumps([_record(*one) for one in found], indent=2))
    elif found:
        print_table(_table(found))
    else:
        print("no conflicts" if args.all else "no open conflicts")
    return OK


def run_show(args: argparse.Namespace) -> int:
    name, conflict = _one(args)
    if args.json:
        print(json.dumps(_record(name, conflict), indent=2))
    else:
        print_table(_sides(name, conflict))
    return OK


def run_resolve(args: argparse.Namespace) -> int:
    from ..writer.conflict_store import ACTIONS, resolve  # noqa: PLC0415

    _check(args.action, ACTIONS, "action")
    if not args.notes.strip():
        raise ConfigError("--notes is empty")
    name, conflict = _one(args)
    args.database = name
    given = {"action": args.action, "notes": args.notes, "user": args.user}
    ((_, done),) = _asked(args, lambda connection: resolve(connection, name, conflict.id, **given))
    if args.json:
        result = {"database": name, "id": conflict.id, "action": args.action, "done": done}
        print(json.dumps(result))
    elif done:
        print(f"conflict {conflict.id} of {name}: {args.action}, by {args.user}")
    else:
        print(f"conflict {conflict.id} of {name} is resolved already: {conflict.action}")
    return OK if done else FAILURE


# -- where they are --------------------------------------------------------------------------------


def _asked(args: argparse.Namespace, work: Callable[[Connection], T]) -> list[tuple[str, T]]:
    """What `work` brings from each database that is meant and has conflicts."""
    from ..postgres.migrations import has_tables  # noqa: PLC0415
    from .database import asking  # noqa: PLC0415

    config: Config = read_config(args).config()
    found = []
    for name in chosen_databases(config.databases, args.database):
        with asking(config, name, "sink-runner conflicts") as connection:
            if has_tables(connection):
                found.append((name, work(connection)))
    return found


def _one(args: argparse.Namespace) -> tuple[str, Conflict]:
    """The one conflict of a number, and the database that it is in."""
    from ..writer.conflict_store import get  # noqa: PLC0415

    asked = _asked(args, lambda connection: get(connection, args.id))
    found = [(name, conflict) for name, conflict in asked if conflict is not None]
    if not found:
        raise ConfigError(f"there is no conflict {args.id}; see `sink-runner conflicts list --all`")
    if len(found) > 1:
        names = " and ".join(name for name, _ in found)
        raise ConfigError(f"conflict {args.id} is in {names}: say which by --database")
    return found[0]


def _check(given: str | None, known: Iterable[str], what: str) -> None:
    if given is not None and given not in known:
        told = ", ".join(known)
        raise ConfigError(f"{what} {given!r} is unknown{hint(given, known)}; there is {told}")


# -- what is told ----------------------------------------------------------------------------------


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
    state = f"{conflict.action or 'open'}"
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
