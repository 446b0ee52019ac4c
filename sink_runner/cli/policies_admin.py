"""``sink-runner policies pull`` and ``push``: the exchange with Ranger Admin."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence

from ..config import ConfigFile
from ..errors import ConfigError, SinkError
from ..masking.admin import Admin
from ..masking.exchange import Action, Content, Step, changes, local_policies, plan, put, tried
from ..masking.origins import Origins
from ..masking.policy import load_policies
from ..masking.policy_file import SERVICE_DEFINITION
from ..masking.policy_json import parse_object, read_file
from ..masking.policy_renewal import admin_of
from ..masking.round_trip_check import faults
from ..plugin import TableMapping
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    loaded_plugins,
    read_config,
    read_plugins,
)

PULL = """\
What would change is shown first.  Nothing is replaced by policies that cannot be used, or that
would leave a personal column of a mapping bare.  [policies] admin is Ranger's URL; user and
password come from the environment, as sink-runner.toml says.

examples:
  sink-runner policies pull --dry-run
  sink-runner policies pull --yes
"""
PUSH = """\
Policies are recognised by their names.  What would change is shown first, policy by policy; those
that only Ranger has stay, unless --delete is given.  Ranger numbers and dates what it gets: pull
afterwards, so that both say the same versions.

examples:
  sink-runner policies push --dry-run
  sink-runner policies push --yes --delete
"""


def register(inner: Subparsers) -> None:
    one = add_command(inner, "pull", summary="fetch Ranger Admin's policies", teaching=PULL)
    add_choice_options(one)
    one.set_defaults(run=pull)
    other = add_command(inner, "push", summary="send the policies to Ranger Admin", teaching=PUSH)
    other.add_argument("--delete", action="store_true", help="delete what only Ranger has")
    other.set_defaults(run=push)
    for parser in (one, other):
        parser.add_argument("--dry-run", action="store_true", help="show what would change, only")
        parser.add_argument("--yes", action="store_true", help="do not ask")


def mappings_of(args: argparse.Namespace, file: ConfigFile) -> dict[str, TableMapping]:
    """The mappings of the plugins that are on and could be loaded."""
    plugins = loaded_plugins(read_plugins(args, file).values())
    return {plugin.name: plugin.mapping for plugin in plugins if plugin.mapping is not None}


def known_origins(
    file: ConfigFile, mappings: Mapping[str, TableMapping]
) -> tuple[dict[str, Origins], list[str]]:
    """Ask the databases where values come from; what could not be asked is told in warnings."""
    # PostgreSQL is not loaded by the commands that need none.
    from ..masking.column_origins import read_origins  # noqa: PLC0415

    found, warnings = {}, []
    strict = file.schema().strict
    for name, mapping in mappings.items():
        try:
            found[name] = read_origins(mapping, file.config().readers, strict=strict)
        except SinkError as fault:
            if mapping.query or any(column.lookups for column in mapping.columns):
                warnings.append(
                    f"mapping {name!r}: what its lookups or query find was not checked: {fault}"
                )
    return found, warnings


def pull(args: argparse.Namespace) -> int:
    file = read_config(args)
    settings = file.policies()
    ours, found = local_policies(settings.directory), admin_of(settings).download()
    assert found is not None  # it is asked for any version
    policies = tried(settings.directory, found, settings.key)
    mappings = mappings_of(args, file)
    origins, warnings = known_origins(file, mappings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    bad = faults(mappings, policies, origins)
    for fault in bad:
        print(f"fault: {fault}", file=sys.stderr)
    if bad:
        print("nothing is replaced", file=sys.stderr)
        return FAILURE
    print("\n".join(changes(ours, found)) or "no policy says anything else")
    print(f"version {ours.get('policyVersion')} here, {policies.version} in Ranger")
    if found == ours or args.dry_run:
        return OK
    if not _agreed(args, f"replace the policies of {settings.directory}?"):
        return FAILURE
    put(settings.directory, found)
    print("replaced")
    return OK


def push(args: argparse.Namespace) -> int:
    settings = read_config(args).policies()
    load_policies(settings.directory, settings.key)  # what cannot be used here is sent nowhere
    path = settings.directory / SERVICE_DEFINITION
    definition = parse_object(read_file(path), SERVICE_DEFINITION)
    ours, admin = local_policies(settings.directory), admin_of(settings)
    is_new = not admin.exists()
    found = plan(ours["policies"], [] if is_new else admin.policies())
    steps = [step for step in found if args.delete or step.action is not Action.DELETE]
    _tell(admin.service if is_new else "", steps, [step for step in found if step not in steps])
    if not (is_new or steps) or args.dry_run:
        return OK
    if not _agreed(args, "send this to Ranger Admin?"):
        return FAILURE
    if is_new:
        _make_service(admin, definition)
    _send(admin, steps)
    print("sent; `sink-runner policies pull` fetches the versions that Ranger gave")
    return OK


def _tell(new: str, steps: Sequence[Step], kept: Iterable[Step]) -> None:
    if new:
        print(f"create service {new!r}")
    for step in steps:
        print(f"{step.action} policy {step.name!r}")
        print("\n".join(step.diff))
    for step in kept:
        print(f"only in Ranger, and left there: {step.name!r}")
    if not (new or steps):
        print("Ranger's masking policies say the same")


def _make_service(admin: Admin, definition: Content) -> None:
    name = str(definition["name"])
    if admin.definition(name) is None:
        admin.create_definition(definition)
    admin.create_service(name)


def _send(admin: Admin, steps: Iterable[Step]) -> None:
    for step in steps:
        match step.action:
            case Action.CREATE:
                admin.create(step.sent | {"service": admin.service})
            case Action.UPDATE:
                admin.update(step.number, step.sent | {"service": admin.service})
            case Action.DELETE:
                admin.delete(step.number)


def _agreed(args: argparse.Namespace, question: str) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here: say --yes, or --dry-run")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
