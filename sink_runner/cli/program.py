"""The ``sink-runner`` command: finds the commands, runs one, turns errors into exit codes.

0 is success, 1 failure, 2 wrong usage, 78 (EX_CONFIG) anything wrong with the set-up.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version

from .. import error_text
from ..completion import SHELLS, Completion
from ..errors import (
    ConfigError,
    EventError,
    FatalError,
    PluginError,
    RetriableError,
    SinkError,
    raised_in,
)
from . import api as api_command
from . import audit as audit_command
from . import batch as batch_command
from . import config as config_command
from . import conflicts as conflicts_command
from . import dlq as dlq_command
from . import erase as erase_command
from . import grants as grants_command
from . import migrate as migrate_command
from . import new as new_command
from . import plugins as plugins_command
from . import policies as policies_command
from . import purge as purge_command
from . import quality as quality_command
from . import recover as recover_command
from . import run as run_command
from . import schedule as schedule_command
from . import schema as schema_command
from .command import EX_CONFIG, FAILURE, GROUP, Subparsers, add_config_option

INTERRUPTED = 130

TEACHING = """\
start here:
  sink-runner plugins               what is installed, and what is on
  sink-runner config                what can be set, and what is
  sink-runner run                   go
  sink-runner COMMAND --help        each command's help ends with examples
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argparse` itself exits with 2."""
    args = command_parser().parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` does; nor is the rest flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="sink-runner",
        description="Carry Debezium change events from Kafka through plugins into PostgreSQL.",
        epilog=TEACHING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('sink-runner')}")
    parser.add_argument("--completion", action=Completion, choices=SHELLS, help=Completion.__doc__)
    add_config_option(parser)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except BrokenPipeError:
        raise
    except (ConfigError, PluginError) as exc:
        _complain(_text(exc, args.run))
        return EX_CONFIG
    except (EventError, RetriableError, FatalError) as exc:
        _complain(error_text.describe(exc))
    except SinkError as exc:
        _complain(_text(exc, args.run))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - Python's own traceback would print the text
        _complain("\n".join(error_text.trace(exc)))
    return FAILURE


def _text(exc: SinkError, command: Callable[..., object]) -> str:
    """The text that the runner or the command's own module gave; a plugin's may quote a row."""
    return str(exc) if raised_in(exc) == command.__module__ else error_text.text_of(exc)


def add_commands(subparsers: Subparsers) -> None:
    """Add our own commands, then the other distributions'; a broken one is told and left out."""
    for command in (
        plugins_command,
        run_command,
        batch_command,
        schedule_command,
        api_command,
        config_command,
        quality_command,
        dlq_command,
        policies_command,
        conflicts_command,
        audit_command,
        schema_command,
        recover_command,
        migrate_command,
        purge_command,
        erase_command,
        grants_command,
        new_command,
    ):
        command.register(subparsers)
    for ep in sorted(entry_points(group=GROUP), key=lambda ep: ep.name):
        try:
            ep.load()(subparsers)
        except Exception as exc:  # noqa: BLE001 - a third party's import may raise anything
            dist = f"{ep.dist.name} {ep.dist.version}" if ep.dist else ep.value
            _complain(f"command {ep.name!r} of {dist} is left out: {type(exc).__name__}: {exc}")


def _complain(text: str) -> None:
    """Print faults after the program's name; indented statements alone, to be pasted."""
    for line in text.splitlines():
        print(line if line.startswith(" ") else f"sink-runner: {line}", file=sys.stderr)
