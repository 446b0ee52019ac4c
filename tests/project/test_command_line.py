"""Which commands, options and arguments both programs have: a public interface."""

import argparse
import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .test_commands import PROGRAMS

LISTED = Path(__file__).with_name("command_line.txt")


def commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, Any]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from commands(command, f"{name} {word}")


def parameters(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            yield " ".join(filter(None, words(action)))


def words(action: argparse.Action) -> Iterator[str]:
    yield "/".join(sorted(action.option_strings))
    if action.nargs != 0:
        choices = action.choices and "{" + ",".join(map(str, action.choices)) + "}"
        yield choices or str(action.metavar or action.dest.upper())
    many = isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+")
    yield "repeatable" if many else ""
    yield "required" if action.required and action.nargs != "*" else ""
    given = action.default if action.default is not argparse.SUPPRESS else None
    given = "$USER" if given == getpass.getuser() else given
    yield f"default {given}" if given else ""


def command_line() -> str:
    lines = [
        f"{name} {parameter}"
        for program, parser in PROGRAMS.items()
        for name, command in commands(parser(), program)
        for parameter in ["", *parameters(command)]
    ]
    return "".join(f"{line.rstrip()}\n" for line in sorted(lines))


def test_commands_and_options_are_those_listed() -> None:
    assert command_line() == LISTED.read_text()
