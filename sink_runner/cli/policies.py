"""``sink-runner policies``: who sees what, whether it holds, and the exchange with Ranger Admin."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from rich.table import Table as Shown
from rich.text import Text

from ..errors import ConfigError
from ..masking.lineage import Line, lines, undecided
from ..masking.policy import Policies, load_policies
from ..masking.principals import Reader
from ..masking.round_trip_check import faults
from ..plugin import TableMapping
from . import policies_admin
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    read_config,
)
from .policies_admin import known_origins, mappings_of
from .tables import print_table

TEACHING = """\
The policies are Apache Ranger's own JSON, in the folder that [policies] names; its README.md
explains them.  A running runner takes up what changes, by itself.

  check  load them, refuse what is ambiguous, and follow every column of the mappings that are on,
         and what their lookups and queries find, as the databases tell
  show   what each reader sees of them; for a group or a person of your choice, too
  pull   replace the folder's policies by those of Ranger Admin
  push   make those of Ranger Admin like the folder's

examples:
  sink-runner policies check
  sink-runner policies show --column aadhaar
  sink-runner policies show --user asha --json
  SINK_RANGER_ADMIN=https://ranger:6182 sink-runner policies push --dry-run
"""
CHECK = """\
The exit code is 1 if a mapping would leave a personal column bare, or if mappings would carry a
masked value back over the real one, and 78 if the policies cannot be used at all.  A column that
looks personal and is not classified is a warning; with --strict it fails, too.

examples:
  sink-runner policies check
  sink-runner policies check --strict --json
"""
SHOW = """\
The reader of a mapping is the group that is named like the target's database.  --group and --user
show what others would see of the same source columns; a person's groups are those of users.json.

examples:
  sink-runner policies show
  sink-runner policies show golden-records --all
  sink-runner policies show --column mobile --user operator
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "policies",
        summary="check and show the masking policies, exchange them with Ranger Admin",
        teaching=TEACHING,
    )
    inner = parser.add_subparsers(required=True, metavar="COMMAND")
    one = _subcommand(inner, "check", "tell whether the policies hold", CHECK)
    one.add_argument("--strict", action="store_true", help="fail on a warning as well")
    one.set_defaults(run=check)
    one = _subcommand(inner, "show", "tell who sees what", SHOW)
    one.add_argument("names", metavar="NAME", nargs="*", help="these mappings (default: all)")
    whom = one.add_mutually_exclusive_group()
    whom.add_argument("--group", help="as this group sees it")
    whom.add_argument("--user", help="as this person sees it")
    one.add_argument("--column", metavar="TEXT", help="only columns with this in their name, or *")
    one.add_argument("--all", action="store_true", help="columns that are nobody's as well")
    one.set_defaults(run=show)
    policies_admin.register(inner)


def _subcommand(
    inner: Subparsers, name: str, summary: str, teaching: str
) -> argparse.ArgumentParser:
    parser = add_command(inner, name, summary=summary, teaching=teaching)
    add_choice_options(parser)
    parser.add_argument("--json", action="store_true", help="the same, for programs")
    return parser


# -- check and show ----------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    file = read_config(args)
    settings, mappings = file.policies(), mappings_of(args, file)
    policies = load_policies(settings.directory, settings.key)
    origins, warnings = known_origins(file, mappings)
    found = faults(mappings, policies, origins)
    warnings += [
        f"{name} looks personal and is not classified; add it to classification.json, or to its "
        "not_personal"
        for name in undecided(mappings, policies, origins)
    ]
    if args.json:
        record = {
            "version": policies.version,
            "digest": policies.digest,
            "faults": found,
            "warnings": warnings,
        }
        print(json.dumps(record, indent=2))
    else:
        _tell_check(policies, mappings, found, warnings)
    return FAILURE if found or (args.strict and warnings) else OK


def _tell_check(
    policies: Policies,
    mappings: dict[str, TableMapping],
    found: Sequence[str],
    warnings: Sequence[str],
) -> None:
    for fault in found:
        print(f"fault: {fault}")
    for warning in warnings:
        print(f"warning: {warning}")
    count = len(policies.files.policies)
    print(
        f"version {policies.version} ({policies.digest}): {count} policies, {len(mappings)} "
        f"mappings, {len(found)} faults, {len(warnings)} warnings"
    )


def show(args: argparse.Namespace) -> int:
    file = read_config(args)
    settings, mappings = file.policies(), mappings_of(args, file)
    policies = load_policies(settings.directory, settings.key)
    for name in {*args.names} - mappings.keys():
        raise ConfigError(f"plugin {name!r} is off, or has no mapping; see `sink-runner plugins`")
    chosen = {name: mappings[name] for name in args.names or mappings}
    origins, warnings = known_origins(file, chosen)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    found = [
        line
        for line in lines(chosen, policies, _reader(args, policies), origins=origins)
        if (args.all or line.concerns) and _named(line, args.column)
    ]
    if args.json:
        print(json.dumps([record(line) for line in found], indent=2))
    else:
        print_table(table(found, policies))
    return OK


def record(line: Line) -> dict[str, object]:
    """The line as JSON has it."""
    mask = line.mask
    return {
        "mapping": line.mapping,
        "source": str(line.source),
        "target": str(line.target),
        "user": line.reader.user,
        "groups": sorted(line.reader.groups),
        "tags": sorted(line.tags),
        "seen": line.seen,
        "mask": mask.kind.value if mask else None,
        "expression": mask.expression if mask else None,
        "policy_id": mask.policy_id if mask else None,
        "policy_version": mask.policy_version if mask else None,
        "fault": line.fault or None,
    }


def table(found: Iterable[Line], policies: Policies) -> Shown:
    made = Shown(title=f"policies, version {policies.version}", title_justify="left")
    for head in ("mapping", "source column", "target column", "reader", "sees", "policy"):
        made.add_column(head, overflow="fold")
    for line in found:
        mask = line.mask
        policy = f"{mask.policy_id} v{mask.policy_version}" if mask else "-"
        source = ".".join(line.source[2:])
        target = ".".join(line.target[2:])
        cells = (line.mapping, source, target, str(line.reader), line.seen, policy)
        made.add_row(*map(Text, cells))  # a constant such as [redacted] looks like markup
    return made


def _reader(args: argparse.Namespace, policies: Policies) -> Reader | None:
    if args.user:
        return policies.person(args.user)
    return Reader(groups=frozenset({args.group})) if args.group else None


def _named(line: Line, wanted: str | None) -> bool:
    if wanted is None:
        return True
    pattern = wanted.lower() if "*" in wanted else f"*{wanted.lower()}*"
    return any(fnmatchcase(name.column.lower(), pattern) for name in (line.source, line.target))
