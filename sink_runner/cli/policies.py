"""``sink-runner policies``: who sees what, and whether every personal column is masked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase

import click
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError
from ..masking.lineage import Line, lines, undecided
from ..masking.policy import Policies, load_policies
from ..masking.principals import group_principal
from ..masking.round_trip_check import faults
from .arguments import flag, json_option, plugin_options, wide_option
from .command import FAILURE, OK, Command, Group
from .configuration import loaded_plugins, mappings_of, read_config, read_plugins
from .policies_admin import known_origins, pull, push
from .tables import print_table

EXTRA = ("source column", "principal", "policy")
"""Columns that --wide adds."""


@click.group(cls=Group)
def policies() -> None:
    """Check, show and exchange the masking policies.

    The policies are Apache Ranger's own JSON, in the folder that [policies] names; its README.md
    explains them. A running runner reloads them automatically.

    examples:
      sink-runner policies check
      sink-runner policies show --column aadhaar
      sink-runner policies show --user asha --json
      sink-runner policies push --dry-run
    """


@policies.command()
@plugin_options
@json_option
@flag("--strict", help="Exit with 1 for a warning, too.")
def check(*, as_json: bool, strict: bool) -> int:
    """Check that the policies mask every personal column.

    Loads them, refuses ambiguous ones, and follows each column of the mappings that are on, and
    what their lookups and queries return, to its source in the databases.

    The exit code is 1 if a mapping would leave a personal column unmasked, or if mappings would
    write a masked value back over the real one (a masked round trip), and 78 if the policies cannot
    be used. A column that looks personal and is not classified is a warning.

    examples:
      sink-runner policies check
      sink-runner policies check --strict --json
    """
    file = read_config()
    settings = file.policies()
    mappings = mappings_of(loaded_plugins(read_plugins(file).values()))
    loaded = load_policies(settings.directory, settings.key)
    origins, warnings = known_origins(file, mappings)
    found = faults(mappings, loaded, origins)
    warnings += [
        f"{name} looks personal and is not classified; add it to classification.json, or to its "
        "not_personal"
        for name in undecided(mappings, loaded, origins)
    ]
    if as_json:
        record = {
            "version": loaded.version,
            "digest": loaded.digest,
            "faults": found,
            "warnings": warnings,
        }
        print(json.dumps(record, indent=2))
    else:
        for line in (*(f"fault: {one}" for one in found), *(f"warning: {one}" for one in warnings)):
            print(line)
        print(
            f"version {loaded.version} ({loaded.digest}): {len(loaded.files.policies)} policies, "
            f"{len(mappings)} mappings, {len(found)} faults, {len(warnings)} warnings"
        )
    return FAILURE if found or (strict and warnings) else OK


@policies.command(cls=Command, exclusive=("--group", "--user"))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@plugin_options
@json_option
@click.option("--group", help="As this group sees it.")
@click.option("--user", help="As this person sees it.")
@click.option("--column", metavar="TEXT", help="Only columns whose name contains TEXT; * matches.")
@wide_option
@flag("--all", "with_public", help="Columns that are not personal, too.")
def show(
    *,
    names: tuple[str, ...],
    as_json: bool,
    group: str | None,
    user: str | None,
    column: str | None,
    wide: bool,
    with_public: bool,
) -> int:
    """Show who sees what.

    NAME is a mapping; without one all are shown. A mapping's target is read by the group that is
    named like the target's database. --group and --user show what others would see of the same
    source columns; users.json has the groups of a person.

    examples:
      sink-runner policies show
      sink-runner policies show golden-records --all
      sink-runner policies show --column mobile --user operator
    """
    file = read_config()
    settings = file.policies()
    mappings = mappings_of(loaded_plugins(read_plugins(file).values()))
    loaded = load_policies(settings.directory, settings.key)
    for name in sorted({*names} - mappings.keys()):
        raise ConfigError(f"plugin {name!r} is off, or has no mapping; see `sink-runner plugins`")
    chosen = {name: mappings[name] for name in names or mappings}
    origins, warnings = known_origins(file, chosen)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    principal = group_principal(group) if group else loaded.person(user) if user else None
    found = [
        line
        for line in lines(chosen, loaded, principal, origins=origins)
        if (with_public or line.concerns) and _matches(line, column)
    ]
    if as_json:
        print(json.dumps([_record(line) for line in found], indent=2))
    else:
        print_table(_table(found, loaded), extra=EXTRA, wide=wide)
    return OK


def _record(line: Line) -> dict[str, object]:
    mask = line.mask
    return {
        "mapping": line.mapping,
        "source": str(line.source),
        "target": str(line.target),
        "user": line.principal.user,
        "groups": sorted(line.principal.groups),
        "tags": sorted(line.tags),
        "seen": line.seen,
        "mask": mask.kind.value if mask else None,
        "expression": mask.expression if mask else None,
        "policy_id": mask.policy_id if mask else None,
        "policy_version": mask.policy_version if mask else None,
        "fault": line.fault or None,
    }


def _table(found: Iterable[Line], loaded: Policies) -> Table:
    table = Table(title=f"policies, version {loaded.version}", title_justify="left")
    for head in ("mapping", "source column", "target column", "principal", "sees", "policy"):
        table.add_column(head, overflow="fold")
    for line in found:
        mask = line.mask
        policy = f"{mask.policy_id} v{mask.policy_version}" if mask else "-"
        source = ".".join(line.source[2:])
        target = ".".join(line.target[2:])
        cells = (line.mapping, source, target, str(line.principal), line.seen, policy)
        table.add_row(*map(Text, cells))  # a constant such as [redacted] looks like markup
    return table


def _matches(line: Line, wanted: str | None) -> bool:
    if wanted is None:
        return True
    pattern = wanted.lower() if "*" in wanted else f"*{wanted.lower()}*"
    return any(fnmatchcase(name.column.lower(), pattern) for name in (line.source, line.target))


for _command in (pull, push):
    policies.add_command(_command)
