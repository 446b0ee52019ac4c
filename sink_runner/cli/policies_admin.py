"""``sink-runner policies pull`` and ``push``: the exchange with Ranger Admin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from ..config import ConfigFile
from ..masking.column_origins import read_known_origins
from ..masking.origins import Origins
from ..masking.policy import load_policies
from ..masking.policy_file import SERVICE_DEFINITION
from ..masking.policy_json import parse_object, read_file
from ..masking.ranger.admin import Admin, Content
from ..masking.ranger.renewal import admin_of
from ..masking.ranger.sync import (
    Action,
    Step,
    describe_changes,
    load_with,
    local_policies,
    plan,
    replace_policies,
)
from ..masking.round_trip_check import faults
from ..plugin import TableMapping
from .arguments import confirmed, flag, plugin_options
from .command import FAILURE, OK, Command
from .configuration import loaded_plugins, mappings_of, read_config, read_plugins

dry_run_option = flag("--dry-run", help="Print what would change, and change nothing.")
yes_option = flag("--yes", help="Do not ask.")


@click.command(cls=Command)
@plugin_options
@dry_run_option
@yes_option
def pull(*, dry_run: bool, yes: bool) -> int:
    """Replace the folder's policies by those of Ranger Admin.

    What would change is printed first. Policies that cannot be used, or that would leave a personal
    column of a mapping unmasked, replace nothing. [policies] admin is Ranger's URL; user and
    password come from the environment, as sink-runner.toml says.

    examples:
      sink-runner policies pull --dry-run
      sink-runner policies pull --yes
    """
    file = read_config()
    settings = file.policies()
    ours, found = local_policies(settings.directory), admin_of(settings).download()
    assert found is not None  # any version was requested
    policies = load_with(settings.directory, found, settings.key)
    mappings = mappings_of(loaded_plugins(read_plugins(file).values()))
    origins, warnings = known_origins(file, mappings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    bad = faults(mappings, policies, origins)
    for fault in bad:
        print(f"fault: {fault}", file=sys.stderr)
    if bad:
        print("nothing is replaced", file=sys.stderr)
        return FAILURE
    print("\n".join(describe_changes(ours, found)) or "the policies have the same content")
    print(f"version {ours.get('policyVersion')} here, {policies.version} in Ranger")
    if found == ours or dry_run:
        return OK
    if not confirmed(f"replace the policies of {settings.directory}?", yes=yes):
        return FAILURE
    replace_policies(settings.directory, found)
    print("replaced")
    return OK


@click.command(cls=Command)
@flag("--delete", help="Delete the policies that only Ranger has.")
@dry_run_option
@yes_option
def push(*, delete: bool, dry_run: bool, yes: bool) -> int:
    """Make the policies of Ranger Admin equal to the folder's.

    Policies are identified by their names. What would change is printed first, policy by policy;
    those that only Ranger has stay unless you pass --delete. Ranger gives each policy a number and
    a time: pull afterwards, so that both have the same versions.

    examples:
      sink-runner policies push --dry-run
      sink-runner policies push --yes --delete
      SINK_RANGER_ADMIN=https://ranger:6182 sink-runner policies push --dry-run
    """
    settings = read_config().policies()
    load_policies(settings.directory, settings.key)  # raises for policies that cannot be used
    path = settings.directory / SERVICE_DEFINITION
    definition = parse_object(read_file(path), SERVICE_DEFINITION)
    ours, admin = local_policies(settings.directory), admin_of(settings)
    is_new = not admin.exists()
    found = plan(ours["policies"], [] if is_new else admin.policies())
    steps = [step for step in found if delete or step.action is not Action.DELETE]
    kept = [step for step in found if step not in steps]
    _print_plan(admin.service if is_new else "", steps, kept)
    if not (is_new or steps) or dry_run:
        return OK
    if not confirmed("send this to Ranger Admin?", yes=yes):
        return FAILURE
    if is_new:
        _create_service(admin, definition)
    _send(admin, steps)
    print("sent; `sink-runner policies pull` fetches the versions that Ranger gave")
    return OK


def known_origins(
    file: ConfigFile, mappings: Mapping[str, TableMapping]
) -> tuple[dict[str, Origins], list[str]]:
    """As `read_known_origins`, from the databases of the file."""
    strict = file.schema().strict
    return read_known_origins(mappings, lambda: file.config().readers, strict=strict)


def _print_plan(new_service: str, steps: Sequence[Step], kept: Iterable[Step]) -> None:
    if new_service:
        print(f"create service {new_service!r}")
    for step in steps:
        print(f"{step.action} policy {step.name!r}")
        print("\n".join(step.diff))
    for step in kept:
        print(f"only in Ranger, and left there: {step.name!r}")
    if not (new_service or steps):
        print("Ranger's masking policies say the same")


def _create_service(admin: Admin, definition: Content) -> None:
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
