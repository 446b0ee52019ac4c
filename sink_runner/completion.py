"""The option ``--completion`` of `sink-runner` and `sink-stack`."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


def _print_script(ctx: click.Context, _: click.Parameter, shell: Any) -> None:
    if not shell or ctx.resilient_parsing:
        return
    found = get_completion_class(shell)
    assert found is not None
    program = ctx.info_name or ""
    # `main` of click reads this environment variable.
    variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
    click.echo(found(ctx.command, {}, program, variable).source())
    ctx.exit()


completion_option = click.option(
    "--completion",
    type=click.Choice(SHELLS),
    is_eager=True,
    expose_value=False,
    callback=_print_script,
    help="Print the completion script of a shell, and exit.",
)
