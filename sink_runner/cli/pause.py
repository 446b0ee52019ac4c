"""``sink-runner pause``: stop writing a mapping until it is resumed."""

from __future__ import annotations

import click

from ..control.plan import plan_pause
from ..errors import ConfigError
from .arguments import user_option
from .command import OK, Command
from .configuration import read_config
from .control_options import all_option, chosen_targets


@click.command(cls=Command)
@click.argument("name", required=False)
@all_option
@click.option("--reason", required=True, metavar="TEXT", help="Why; `status` shows it.")
@user_option("Who pauses it; `status` and the audit log show it.")
def pause(*, name: str | None, every: bool, reason: str, user: str) -> int:
    """Stop writing a mapping until you resume it.

    NAME is a mapping. Every runner finishes the batch in hand, within two seconds and the time of
    that batch, and keeps its partitions: nothing is rebalanced, nothing is lost, and the lag grows.
    Dead letters that you replay and scheduled batch runs wait as well; `sink-runner batch` and
    `reconcile --repair` refuse. A batch run that has begun goes on. The pause is stored in the
    target database, so it survives restarts of runners and of the database.

    Kafka deletes old events after the topic's retention: resume before that. Write no personal
    value into the reason.

    examples:
      sink-runner pause golden-records --reason 'index rebuild until 14:00'
      sink-runner pause --all --reason 'maintenance of the database'
    """
    if not reason.strip():
        raise ConfigError("--reason is empty: say why, for those who find the mapping paused")
    for one in chosen_targets(read_config(), name, every=every):
        print(f"{one.name}: {plan_pause(one, reason).apply(user)}")
    return OK
