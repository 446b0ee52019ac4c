"""Options of several commands, and the checks of their values."""

from __future__ import annotations

import getpass
import math
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, TypeVar

import click

from ..errors import ConfigError
from .command import remember

F = TypeVar("F", bound=Callable[..., Any])

_MAX_NAME_LENGTH = 100
"""The limit of a name in the audit log and in conflicts."""
_MAX_BIGINT = 2**63 - 1


def user_name() -> str:
    """Return the user's name; a container may have none for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def person(text: str) -> str:
    """Return the name under which an action is recorded; refuse one that is too long."""
    if not text.strip() or len(text) > _MAX_NAME_LENGTH:
        raise click.BadParameter(f"a name has 1 to {_MAX_NAME_LENGTH} characters")
    return text


def number(text: str | int) -> int:
    """Return a number of rows, or of one row, that fits PostgreSQL's bigint."""
    if not str(text).isdecimal() or not 1 <= int(text) <= _MAX_BIGINT:
        raise click.BadParameter(f"expected a number from 1 to {_MAX_BIGINT}, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Return a number of seconds; refuse NaN and infinity, which would never end."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or found < 0:
        raise click.BadParameter(f"expected a non-negative number of seconds, got {text!r}")
    return found


def day(text: str) -> date:
    """Return a day of ISO 8601."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"expected a date such as 2026-01-31, got {text!r}") from None


def moment(text: str) -> datetime:
    """Return a time of ISO 8601 in UTC, also if it names no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a time such as 2026-01-31T12:00, got {text!r}"
        ) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def confirmed(question: str, *, yes: bool) -> bool:
    """Return whether to go on: with `yes`, or as the person at the terminal answers."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("stdin is not a terminal: pass --yes to confirm or --dry-run to preview")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


flag = partial(click.option, is_flag=True)
wide_option = flag("--wide", help="Print all columns of the table.")
json_option = flag("--json", "as_json", help="Print JSON.")
database_option = click.option("--database", metavar="NAME", help="Only this database.")


def most_option(default: int) -> Callable[[F], F]:
    return click.option("--most", type=number, default=default, metavar="N", help="At most N.")


def user_option(text: str) -> Callable[[F], F]:
    """Return the option ``--as USER``: the user in whose name the command acts."""
    return click.option(
        "--as",
        "user",
        metavar="USER",
        type=person,
        default=user_name,
        show_default="$USER",
        help=text,
    )


def plugin_options(command: F) -> F:
    """Add the options ``--only`` and ``--without``, which `read_plugins` applies."""
    for name, text in (
        ("--without", "Turn these plugins off, whatever else turns them on."),
        ("--only", "Turn on these plugins and no others; name global ones, too."),
    ):
        command = click.option(
            name,
            metavar="NAME[,NAME]",
            multiple=True,
            expose_value=False,
            callback=remember,
            help=text,
        )(command)
    return command
