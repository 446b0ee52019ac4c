"""The program ``sink-runner``: loads the command that is called, turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import error_text
from ..completion import completion_option
from ..errors import (
    ConfigError,
    EventError,
    FatalError,
    PluginError,
    RetriableError,
    SinkError,
    raised_in,
)
from .command import EX_CONFIG, FAILURE, OK, Command, Group

GROUP = "sink_runner.commands"
"""Entry points of other distributions; each names a `click.Command`."""
INTERRUPTED = 130
NAME = "sink-runner"
ADVICE = "try again later; `sink-runner doctor` shows what cannot be used"

SECTIONS = {
    "Set up": {
        "new": "Write a new plugin that maps one table to another.",
        "config": "Print each setting: type, default, meaning, present value.",
        "plugins": "List the installed plugins: on, off, broken and why.",
        "doctor": "Check a deployment, and print the remedy for each finding.",
        "schema": "Check the source tables against the mappings.",
        "policies": "Check, show and exchange the masking policies.",
        "migrate": "Upgrade the runner's own tables.",
        "grants": "Print the GRANT statements for the roles.",
        "api-key": "Make keys for the callers of the API.",
    },
    "Run": {
        "run": "Apply change events to the target databases.",
        "schedule": "Run each mapping's batch and reconciliation when it is due.",
        "api": "Serve callbacks and masked reads over HTTP.",
        "reload": "Restart the runners one after the other.",
    },
    "Inspect": {
        "status": "Show the state of each mapping, and what to do about it.",
        "explain": "Say why a row is in the target or not.",
        "wait-for": "Wait until the target has everything of the source up to a point.",
        "quality": "Report rows that broke a rule, defaults used, stale rows.",
        "audit": "Show what was written, and which policies masked it.",
    },
    "Operate a mapping": {
        "pause": "Stop writing a mapping until you resume it.",
        "resume": "Go on with a paused mapping.",
        "batch": "Copy a source table to its target: all rows or the changed ones.",
        "resync": "Make a target equal to its source, after everything was checked.",
        "replay": "Apply events of a mapping again, from a time or an offset.",
        "reconcile": "Compare source and target through the mapping, and repair.",
        "dlq": "List, explain, replay or discard dead letters.",
        "conflicts": "List conflicts between both databases, and resolve them.",
    },
    "Maintain the databases": {
        "purge": "Delete what is past its retention from the runner's tables.",
        "erase": "Remove one person's data from the runner's tables.",
        "recover": "Prepare the mappings of a database that was restored.",
    },
}
"""Each command is a module of this package, and its help begins with this sentence."""
COMMANDS = {name: summary for section in SECTIONS.values() for name, summary in section.items()}


class Program(Group):
    """Imports a command's module when it is called; the list of commands needs none of ours."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_extensions())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module = name.replace("-", "_")
            command: click.Command = getattr(import_module(f"{__package__}.{module}"), module)
            return command
        if found := _extensions().get(name):
            return _load(found)
        if ctx.resilient_parsing:
            return None
        raise click.exceptions.NoSuchCommand(name, possibilities=self.list_commands(ctx), ctx=ctx)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = SECTIONS | {"Commands of other packages": dict(_summaries())}
        width = max(len(name) for section in sections.values() for name in section)
        for title, section in sections.items():
            if section:
                rows = [(name.ljust(width), text) for name, text in section.items()]
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        return [
            *(CompletionItem(one) for one in self.list_commands(ctx) if one.startswith(incomplete)),
            *Command.shell_complete(self, ctx, incomplete),
        ]

    def invoke(self, ctx: click.Context) -> int:
        """Run the command and return its exit code; errors of usage are raised."""
        try:
            code = int(super().invoke(ctx))
            sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            # A reader such as `head` has closed the pipe; the flush at exit must not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as fault:  # noqa: BLE001 - Python's own traceback would print its text
            return report(fault, _module(self, ctx))
        return code


@click.command(cls=Program, context_settings={"show_default": True})
@click.version_option(package_name=NAME, message="%(prog)s %(version)s")
@completion_option
def program() -> None:
    """Apply Debezium change events from Kafka, through plugins, to PostgreSQL.

    start here:
      sink-runner plugins               what is installed, and what is on
      sink-runner config                what can be set, and what is
      sink-runner doctor                what is wrong, and what to do about it
      sink-runner run                   apply events until it is stopped
      sink-runner status                the state of each mapping
      sink-runner COMMAND --help        ends with examples of the command

    exit codes:
      0    success; a check found nothing
      1    failure, or a check found something
      2    wrong usage
      3    wait-for: the point was not reached in time
      75   another run or a pause keeps this one out: try again later
      78   the configuration or a plugin is wrong, or a plugin is unknown or off
      130  Ctrl-C
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return int(program.main(argv, prog_name=NAME, standalone_mode=False))
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code


def report(fault: Exception, module: str) -> int:
    """Print what is wrong, and return the exit code; `module` defines the command."""
    # The text of an exception that a plugin raised may quote a row.
    trusted = raised_in(fault) == module
    match fault:
        case ConfigError() | PluginError():
            _complain(str(fault) if trusted else error_text.text_of(fault))
            return EX_CONFIG
        case RetriableError():
            _complain(f"{error_text.text_of(fault)}\n{ADVICE}")
        case EventError() | FatalError():
            _complain(error_text.describe(fault))
        case SinkError():
            _complain(str(fault) if trusted else error_text.text_of(fault))
        case _:
            _complain("\n".join(error_text.trace(fault)))
    return FAILURE


def _module(program: Program, ctx: click.Context) -> str:
    """Return the module that defines the called command; "" if it could not be loaded."""
    try:
        command = program.get_command(ctx, ctx.invoked_subcommand or "")
    except (click.ClickException, ConfigError):
        return ""
    return command.callback.__module__ if command and command.callback else ""


# -- commands of other distributions ---------------------------------------------------------------


def _extensions() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP) if found.name not in COMMANDS}


def _summaries() -> Iterator[tuple[str, str]]:
    """Yield the lines of the extensions; print why one of them is left out."""
    for found in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        try:
            yield found.name, _load(found).get_short_help_str(limit=60)
        except ConfigError as fault:
            _complain(str(fault))


def _load(found: EntryPoint) -> click.Command:
    """Return the command that an entry point names; raise ConfigError if it cannot be used."""
    named = f"{found.dist.name} {found.dist.version}" if found.dist else found.value
    left_out = f"command {found.name!r} of {named} is left out:"
    if found.name in COMMANDS:
        raise ConfigError(f"{left_out} {NAME} has a command of this name")
    try:
        command = found.load()
    except Exception as fault:
        raise ConfigError(f"{left_out} {type(fault).__name__}: {fault}") from fault
    if not isinstance(command, click.Command):
        raise ConfigError(f"{left_out} {found.value} is not a click.Command")
    return command


def _complain(text: str) -> None:
    """Print errors after the program's name; indented statements alone, to be pasted."""
    for line in text.splitlines():
        print(line if line.startswith(" ") else f"{NAME}: {line}", file=sys.stderr)
