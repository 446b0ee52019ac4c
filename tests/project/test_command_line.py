"""The commands, options and arguments of both programs, which are a public interface."""

from collections.abc import Iterator
from pathlib import Path

import click
from sink_stack import cli as stack_cli

from sink_runner.cli import program
from sink_runner.cli.arguments import user_name

PROGRAMS = {"sink-runner": program.program, "sink-stack": stack_cli.program}
LISTED = Path(__file__).with_name("command_line.txt")


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the command and its subcommands, each with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for word in command.list_commands(ctx):
            yield from commands(command.get_command(ctx, word), f"{name} {word}")


def all_commands() -> dict[str, click.Command]:
    return {
        name: command
        for program, group in PROGRAMS.items()
        for name, command in commands(group, program)
    }


def words(param: click.Parameter) -> Iterator[str]:
    is_option = isinstance(param, click.Option)
    yield "/".join(sorted(param.opts)) if is_option else ""
    if not (is_option and param.is_flag):
        choices = getattr(param.type, "choices", None)
        yield (choices and "{" + ",".join(choices) + "}") or value_name(param)
    yield "repeatable" if param.multiple or param.nargs == -1 else ""
    yield "required" if param.required else ""
    default = "$USER" if param.default is user_name else param.default
    is_shown = default and isinstance(default, str | int | float | Path) and default is not True
    yield f"default {default}" if is_shown else ""


def value_name(param: click.Parameter) -> str:
    name = (param.metavar or param.name.upper()).removesuffix("...")
    return name[1:-1] if name.startswith("[") else name


def command_line() -> str:
    lines = [
        f"{name} {' '.join(filter(None, parameter))}"
        for name, command in all_commands().items()
        for parameter in [(), *map(words, command.params)]
    ]
    return "".join(f"{line.rstrip()}\n" for line in sorted(lines))


def test_commands_and_options_are_those_listed() -> None:
    assert command_line() == LISTED.read_text()


def test_help_of_each_command_fits_80_columns() -> None:
    wide = [
        (name, line)
        for name, command in all_commands().items()
        for line in help_of(name, command).splitlines()
        if len(line) > 80
    ]
    assert wide == []


def test_each_command_has_a_description() -> None:
    assert [name for name, command in all_commands().items() if not command.help] == []


def help_of(name: str, command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name=name, terminal_width=80))


def test_listed_description_is_that_of_help() -> None:
    ctx = click.Context(program.program)
    found = {
        name: program.program.get_command(ctx, name).help.partition("\n")[0]
        for name in program.COMMANDS
    }
    assert found == program.COMMANDS
