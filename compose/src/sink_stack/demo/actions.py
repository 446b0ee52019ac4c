"""What `sink-runner demo` does: load made-up data, and count what is there."""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime

import psycopg
from rich.console import Console
from sink_runner.cli.command import EX_CONFIG, FAILURE, OK

from . import load as loader
from . import progress
from .rows import Plan


class _SetupError(Exception):
    """The environment does not say where the databases are."""


def fill(families: int, seed: int, as_of: datetime, *, if_empty: bool) -> int:
    """Load into the databases that are empty, or refuse where one is not."""
    plan = Plan(families=families, seed=seed, as_of=as_of)
    console, began = Console(), time.monotonic()
    try:
        with progress.families(console, families) as advance:
            loaded = loader.load(_dsns(os.environ), plan, if_empty=if_empty, advance=advance)
    except loader.NotEmptyError as exc:
        return _complain(f"{exc}, so nothing was loaded (--if-empty makes this no error)", FAILURE)
    except _SetupError as exc:
        return _complain(str(exc), EX_CONFIG)
    except psycopg.Error as exc:
        return _complain(_text_of(exc), FAILURE)
    if not loaded:
        console.print("both databases hold data already: nothing loaded")
        return OK
    seconds = time.monotonic() - began
    console.print(f"{families:,} families in {seconds:.1f} s: {', '.join(loaded)}", highlight=False)
    return OK


def count_rows(*, as_json: bool) -> int:
    """Print every table with its number of rows."""
    found = {}
    try:
        for database, dsn in _dsns(os.environ).items():
            with psycopg.connect(dsn) as connection:
                found[database] = dict(loader.counts(connection))
    except _SetupError as exc:
        return _complain(str(exc), EX_CONFIG)
    except psycopg.Error as exc:
        return _complain(_text_of(exc), FAILURE)
    if as_json:
        print(json.dumps(found, indent=2))
        return OK
    for database, counts in found.items():
        print(database)
        for table, count in counts.items():
            print(f"  {table:40} {count:>12,}")
    return OK


def _dsns(environ: Mapping[str, str]) -> dict[str, str]:
    names = {name: f"STACK_{name.upper()}_ADMIN_DSN" for name in loader.DATABASES}
    missing = [variable for variable in names.values() if not environ.get(variable)]
    if missing:
        raise _SetupError(f"{' and '.join(missing)} must be set: `make up` writes them")
    return {name: environ[variable] for name, variable in names.items()}


def _text_of(exc: psycopg.Error) -> str:
    """What failed, without PostgreSQL's text, which may quote a row."""
    place = f" on {exc.diag.table_name}" if exc.diag.table_name else ""
    return f"PostgreSQL refused: {type(exc).__name__} ({exc.sqlstate or 'no connection'}){place}"


def _complain(text: str, code: int) -> int:
    print(f"sink-runner: {text}", file=sys.stderr)
    return code
