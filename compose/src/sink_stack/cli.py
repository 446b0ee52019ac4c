"""The command `sink-stack`."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from . import layout
from .errors import StackError
from .stack import Options, Stack, default_runner

Environ = Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.function(arguments, os.environ)
    except StackError as exc:
        print(f"sink-stack: {exc}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sink-stack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _command(commands, "up", _up, "install what is missing and start the stack")
    up.add_argument("--no-runner", action="store_true", help="without the sink runner")
    _command(commands, "down", _down, "stop what `up` started; data stays")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: Callable[[argparse.Namespace, Environ], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(function=function)
    return command


def _up(arguments: argparse.Namespace, environ: Environ) -> int:
    stack = Stack(layout.find(environ), environ)
    stack.up(Options(runner=None if arguments.no_runner else default_runner()))
    return 0


def _down(_: argparse.Namespace, environ: Environ) -> int:
    Stack(layout.find(environ), environ).down()
    return 0
