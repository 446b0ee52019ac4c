"""``sink-runner replay``: apply events of a mapping again."""

from __future__ import annotations

import click

from ..control.replay import Start, plan_replay
from .arguments import flag, user_option
from .command import Command
from .configuration import read_config
from .control_options import carry_out, chosen_targets


def start(text: str) -> Start:
    """Return where to begin."""
    try:
        return Start.parse(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a time such as 2026-01-31T12:00 or offset:PARTITION:OFFSET, got {text!r}"
        ) from None


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--from",
    "begin",
    required=True,
    metavar="T",
    type=start,
    help="A time of ISO 8601, UTC if it has no zone, or offset:PARTITION:OFFSET.",
)
@flag("--dry-run", help="Print the plan, and change nothing.")
@flag("--yes", help="Do not ask.")
@user_option("Who replays, for the audit log.")
def replay(*, name: str, begin: Start, dry_run: bool, yes: bool, user: str) -> int:
    """Apply events of a mapping again, from a time or an offset.

    NAME is a mapping. The stored offsets move back in one transaction, and every runner claims its
    partitions at the new ones within two seconds; a runner that has a batch in hand is fenced. The
    events pass filter, map, lookups, masks and the conflict rule with the present plugins and
    policies, so newer rows of the target stay.

    The command prints how many events it reads again, what becomes of them and what is not
    harmless, and asks. It refuses if Kafka no longer has all of them. A time is compared with that
    of the Kafka record. To replay dead letters, use `sink-runner dlq replay`.

    examples:
      sink-runner replay golden-records --from 2026-03-01T12:00 --dry-run
      sink-runner replay golden-records --from offset:3:1500
    """
    (target,) = chosen_targets(read_config(), name, every=False)
    return carry_out(plan_replay(target, begin), name, user, dry_run=dry_run, yes=yes)
