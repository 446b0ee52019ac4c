"""What a person gives on the command line, checked before anything is asked with it."""

from __future__ import annotations

import argparse
import getpass
import math

_MOST_NAME = 100
"""Characters of a name in the audit log and in conflicts."""
_LAST = 2**63 - 1
"""A bigint's."""


def user_name() -> str:
    """Who calls; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def person(text: str) -> str:
    """A name to write something down under: whole, or the trace would lead to somebody else."""
    if not text.strip() or len(text) > _MOST_NAME:
        raise argparse.ArgumentTypeError(f"a name has 1 to {_MOST_NAME} characters")
    return text


def add_person(parser: argparse.ArgumentParser, told: str) -> None:
    """``--as USER``: under whose name it is done."""
    parser.add_argument(
        "--as", dest="user", metavar="USER", type=person, default=user_name(), help=told
    )


def number(text: str) -> int:
    """How many to show, or a row's own number: what PostgreSQL can count to."""
    found = int(text)
    if not 1 <= found <= _LAST:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {_LAST}")
    return found


def seconds(text: str) -> float:
    """How long to wait; what is no number would never be over."""
    found = float(text)
    if not math.isfinite(found) or found < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to wait, in seconds")
    return found
