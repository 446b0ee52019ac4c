"""Number keys so that those that the target finds equal agree: 1.0 and 1.00, alice and Alice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from ..model.changes import Change, Write
from .parameters import key_arrays, run
from .statements import Statements


def number_keys(
    connection: psycopg.Connection[Any], statements: Statements, changes: Sequence[Change]
) -> tuple[Sequence[Change], list[int] | None]:
    """Return the changes with a number for each, the same number for equal keys.

    The numbers are None if equal keys always have the same spelling.  The removal of an event that
    only changes the spelling of its row's key is left out.
    """
    if not changes or statements.has_exact_key:
        return changes, None
    keys = key_arrays(change.key for change in changes)
    found = dict(run(connection, statements.key_numbers, keys).fetchall())
    numbered = [(change, found[at]) for at, change in enumerate(changes)]
    written = {(id(c.source), number) for c, number in numbered if isinstance(c, Write)}
    kept = [
        (change, number)
        for change, number in numbered
        if isinstance(change, Write) or (id(change.source), number) not in written
    ]
    return [change for change, _ in kept], [number for _, number in kept]
