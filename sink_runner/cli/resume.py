"""``sink-runner resume``: go on with a paused mapping."""

from __future__ import annotations

import click

from ..control.plan import plan_resume
from .arguments import user_option
from .command import OK, Command
from .configuration import read_config
from .control_options import all_option, chosen_targets


@click.command(cls=Command)
@click.argument("name", required=False)
@all_option
@user_option("Who resumes it, for the audit log.")
def resume(*, name: str | None, every: bool, user: str) -> int:
    """Go on with a paused mapping.

    NAME is a mapping. Every runner continues at the stored offsets within two seconds; a schedule
    that became due meanwhile runs once.

    examples:
      sink-runner resume golden-records
      sink-runner resume --all
    """
    for one in chosen_targets(read_config(), name, every=every):
        print(f"{one.name}: {plan_resume(one).apply(user)}")
    return OK
