"""The `demo` command: load made-up data, and say what is there."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
from rich.console import Console

from . import load as loader
from . import progress
from .rows import Plan

SCALES = {"small": 1_000, "large": 100_000}
MOST_FAMILIES = 1_000_000
OK, FAILURE, EX_CONFIG = 0, 1, 78

_LOAD_TEACHING = """\
The same seed and --as-of give the same rows.  The numbers look like a person's and can belong
to nobody.  A load that fails leaves both databases as they were.

example:
  sink-runner demo load --scale large
  sink-runner demo load --families 50 --seed 7 --as-of 2026-01-31T00:00:00
"""


class Subparsers(Protocol):
    """What `argparse.ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""


class _SetupError(Exception):
    """The environment does not say where the databases are."""


def register(subparsers: Subparsers) -> None:
    """Add the command `demo` with `load` and `status`."""
    summary = "fill both databases with made-up data, or count what is there"
    parser = subparsers.add_parser("demo", help=summary, description=summary)
    _add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sink_stack.demo")
    _add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    args = parser.parse_args(argv)
    return int(args.run(args))


def load(args: argparse.Namespace) -> int:
    """Load into the databases that are empty, or refuse where one is not."""
    families = args.families or SCALES[args.scale]
    as_of = args.as_of or datetime.now(UTC).replace(tzinfo=None)
    plan = Plan(families=families, seed=args.seed, as_of=as_of)
    console, began = Console(), time.monotonic()
    try:
        with progress.families(console, families) as advance:
            loaded = loader.load(_dsns(os.environ), plan, if_empty=args.if_empty, advance=advance)
    except loader.NotEmptyError as exc:
        return _complain(f"{exc}, so nothing was loaded (--if-empty makes this no error)", FAILURE)
    except _SetupError as exc:
        return _complain(str(exc), EX_CONFIG)
    except psycopg.Error as exc:
        return _complain(_told(exc), FAILURE)
    if not loaded:
        console.print("both databases hold data already: nothing loaded")
        return OK
    seconds = time.monotonic() - began
    console.print(f"{families:,} families in {seconds:.1f} s: {', '.join(loaded)}", highlight=False)
    return OK


def status(args: argparse.Namespace) -> int:
    """Print every table with its number of rows."""
    found = {}
    try:
        for database, dsn in _dsns(os.environ).items():
            with psycopg.connect(dsn) as connection:
                found[database] = dict(loader.counts(connection))
    except _SetupError as exc:
        return _complain(str(exc), EX_CONFIG)
    except psycopg.Error as exc:
        return _complain(_told(exc), FAILURE)
    if args.json:
        print(json.dumps(found, indent=2))
        return OK
    for database, counts in found.items():
        print(database)
        for table, count in counts.items():
            print(f"  {table:40} {count:>12,}")
    return OK


def _add_commands(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "load",
        help="fill both databases, each in one transaction",
        epilog=_LOAD_TEACHING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", choices=SCALES, default="small", help="1,000 or 100,000 families")
    size.add_argument("--families", type=_families, metavar="N", help="this many families")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--if-empty", action="store_true", help="do nothing where data is there")
    parser.add_argument(
        "--as-of", type=_utc, metavar="TIME", help="the time that ages count from, default now"
    )
    parser.set_defaults(run=load)
    parser = commands.add_parser("status", help="count the rows of every table")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=status)


def _dsns(environ: Mapping[str, str]) -> dict[str, str]:
    names = {name: f"STACK_{name.upper()}_ADMIN_DSN" for name in loader.DATABASES}
    missing = [variable for variable in names.values() if not environ.get(variable)]
    if missing:
        raise _SetupError(f"{' and '.join(missing)} must be set: `make up` writes them")
    return {name: environ[variable] for name, variable in names.items()}


def _families(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_FAMILIES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_FAMILIES:,} families")
    return int(text)


def _utc(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("expected a time such as 2026-01-31T00:00:00") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _told(exc: psycopg.Error) -> str:
    """What failed, without PostgreSQL's text, which may quote a row."""
    place = f" on {exc.diag.table_name}" if exc.diag.table_name else ""
    return f"PostgreSQL refused: {type(exc).__name__} ({exc.sqlstate or 'no connection'}){place}"


def _complain(text: str, code: int) -> int:
    print(f"sink-runner: {text}", file=sys.stderr)
    return code
