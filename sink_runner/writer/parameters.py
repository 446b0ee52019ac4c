"""Run a statement on keys and positions, which it takes as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from ..model.changes import Change, Key


def run(
    connection: psycopg.Connection[Any],
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
) -> psycopg.Cursor[Any]:
    return connection.execute(query.encode(), parameters)


def key_texts(key: Key) -> tuple[str, ...]:
    return tuple(str(part) for part in key)


def key_arrays(keys: Iterable[Key]) -> list[list[str]]:
    """Keys as one array of text for each key column."""
    return [list(column) for column in zip(*map(key_texts, keys), strict=True)]


def position_arrays(changes: Iterable[Change]) -> list[list[int | None]]:
    """Positions as an array of LSNs and one of numbers within their transactions."""
    places = [change.position or (None, 0) for change in changes]
    return [[lsn for lsn, _ in places], [ordinal for _, ordinal in places]]
