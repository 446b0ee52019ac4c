"""The command `sink-runner demo`."""

from datetime import UTC, datetime

import click
from sink_runner.cli.arguments import flag, json_option, moment
from sink_runner.cli.command import Command, Group

SCALES = {"small": 1_000, "large": 100_000}
MOST_FAMILIES = 1_000_000


@click.group(cls=Group, reads_config=False)
def demo() -> None:
    """Fill both databases with made-up data, or count what is there."""


@demo.command(cls=Command, reads_config=False, exclusive=("--scale", "--families"))
@click.option(
    "--scale", type=click.Choice([*SCALES]), default="small", help="1,000 or 100,000 families."
)
@click.option(
    "--families", type=click.IntRange(1, MOST_FAMILIES), metavar="N", help="This many families."
)
@click.option("--seed", type=int, default=1, metavar="N", help="Seed of the random values.")
@flag("--if-empty", help="Do nothing if the databases hold data.")
@click.option(
    "--as-of", type=moment, metavar="TIME", help="The time that ages count from; otherwise now."
)
def load(
    *, scale: str, families: int | None, seed: int, if_empty: bool, as_of: datetime | None
) -> int:
    """Fill both databases, each in one transaction.

    The same --seed and --as-of give the same rows. The numbers look like a person's, but belong to
    no real person. A load that fails leaves both databases as they were.

    examples:
      sink-runner demo load --scale large
      sink-runner demo load --families 50 --seed 7 --as-of 2026-01-31T00:00:00
    """
    families = families or SCALES[scale]
    from .actions import fill  # noqa: PLC0415 - the list of commands needs the declarations alone

    # The columns hold UTC without a zone.
    return fill(
        families, seed, (as_of or datetime.now(UTC)).replace(tzinfo=None), if_empty=if_empty
    )


@demo.command(cls=Command, reads_config=False)
@json_option
def status(*, as_json: bool) -> int:
    """Count the rows of every table."""
    from .actions import count_rows  # noqa: PLC0415 - see above

    return count_rows(as_json=as_json)
