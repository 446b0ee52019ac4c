"""The base of every command: its help, the option --config and the exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import click
from click.core import ParameterSource

OK = 0
FAILURE = 1
EX_CONFIG = 78


class Command(click.Command):
    """A command whose docstring is its help.

    The first paragraph is printed above the options, the others below them.  A paragraph with an
    indented line is printed unchanged.  Only one of the options in `exclusive` may be given;
    `reads_config` adds --config.
    """

    def __init__(
        self,
        *args: Any,
        exclusive: Sequence[str] = (),
        reads_config: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.exclusive = exclusive
        if reads_config:
            self.params.append(_config_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        given = [
            param.opts[0]
            for param in self.params
            if param.opts[0] in self.exclusive
            and ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        ]
        if len(given) > 1:
            raise click.UsageError(f"give only one of {' and '.join(given)}", ctx)
        return rest

    def format_help_text(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text(self._paragraphs()[0])

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for paragraph in self._paragraphs()[1:]:
            formatter.write_paragraph()
            if "\n " in paragraph or paragraph.startswith(" "):
                formatter.write(f"{paragraph}\n")
            else:  # click would break a line within a file's name
                text = " ".join(paragraph.split())
                formatter.write(fill(text, formatter.width, break_on_hyphens=False) + "\n")

    def _paragraphs(self) -> list[str]:
        return inspect.cleandoc(self.help or "").split("\n\n")


class Group(Command, click.Group):
    """A command that has commands."""

    command_class = Command

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added."""
        return [*self.commands]


def remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the value of an option that may precede or follow the name of the command."""
    if value:
        ctx.meta[_key(param.name)] = value


def remembered(name: str, default: Any = None) -> Any:
    """Return the value of a remembered option of this call."""
    return click.get_current_context().meta.get(_key(name), default)


def _key(name: str | None) -> str:
    return f"{__name__}.{name}"


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=remember,
        help="The configuration. Default: $SINK_CONFIG, else sink-runner.toml here or in a parent.",
    )
