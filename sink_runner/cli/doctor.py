"""``sink-runner doctor``: make every check, and print what to paste for each finding."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import Progress

from ..config import ConfigFile
from ..config.reader import hint
from ..doctor import report
from ..doctor.check_group import CheckGroup
from ..doctor.deployment import SECONDS, Deployment
from ..doctor.examination import Examined, examine
from ..doctor.groups import groups, unreadable_group
from ..errors import ConfigError
from ..loading import discovery
from .arguments import json_option, plugin_options
from .command import FAILURE, OK, Command
from .configuration import mappings_of, read_config, read_plugins
from .tables import print_lines


@click.command(cls=Command)
@click.argument("name", required=False)
@plugin_options
@json_option
def doctor(*, name: str | None, as_json: bool) -> int:
    """Check a deployment, and print the remedy for each finding.

    Makes every check of `sink-runner run`, `schema check` and `policies check`, and those of the
    servers: logins, poolers, versions, WAL, slots, clocks, migrations, topics and schemas. NAME is
    a mapping: only it, and what it needs, is checked.

    A check that fails does not hide another one, and each has a time limit. What a check needs and
    cannot have is reported once; the checks that need it count as not made. Nothing is changed.

      refused  a mapping does not start, or pauses
      warning  it runs, but rows or times may be wrong

    exit codes:
      0   nothing was found
      1   something was found
      2   wrong usage

    examples:
      sink-runner doctor
      sink-runner doctor golden-records
      sink-runner doctor --json
    """
    outcomes = _examine([*_groups(name)])
    if as_json:
        print(json.dumps(report.as_json(outcomes), indent=2))
    else:
        print_lines(report.lines(outcomes), indent=4)
    return OK if report.is_sound(outcomes) else FAILURE


def _groups(name: str | None) -> Sequence[CheckGroup]:
    """Return the checks; where the configuration can't be read, one that reports why."""
    try:
        file = read_config()
        return [*groups(_deployment(name, file))]
    except ConfigError as error:
        return [unreadable_group(error)]


def _deployment(name: str | None, file: ConfigFile) -> Deployment:
    plugins = read_plugins(file)
    mappings = mappings_of(one for one in plugins.values() if one.status is discovery.Status.ON)
    if name is not None:
        if name not in plugins or not (plugins[name].errors or name in mappings):
            raise click.UsageError(
                f"{name!r} is not a mapping that is on (see `sink-runner plugins`)"
                f"{hint(name, mappings)}"
            )
        mappings = {one: mapping for one, mapping in mappings.items() if one == name}
    return Deployment(config=file.config(), plugins=plugins, mappings=mappings)


def _examine(checks: Sequence[CheckGroup]) -> list[Examined]:
    """Show a bar on stderr while the checks are made."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("checking", total=len(checks))
        return examine(checks, SECONDS, lambda _name: progress.advance(task))
