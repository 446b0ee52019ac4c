"""Run a statement whose parameters are arrays of keys and positions."""

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
    """Return an array of text for each column of the keys."""
    return [list(column) for column in zip(*map(key_texts, keys), strict=True)]


def position_arrays(changes: Iterable[Change]) -> list[list[int | None]]:
    """Return an array of LSNs, and one of ordinals within their transactions."""
    places = [change.position or (None, 0) for change in changes]
    return [[lsn for lsn, _ in places], [ordinal for _, ordinal in places]]
