"""The before image as a target row, for mappings that compare it with the current target row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import EventError
from ..model.changes import Write
from ..plugin import ABSENT, TableMapping
from .incoming import Incoming
from .pg_encoding import text_key

Values = tuple[Any, ...]


def base_of(
    incoming: Incoming, key: Values, key_at: Collection[int], looked_up: Collection[int]
) -> Values | None:
    """Return the before image as a target row; None if it is unknown or has another key.

    Its lookup columns keep the values to look up; `looked_up_too` replaces them.
    """
    before = incoming.decoded.before
    if before is None or ABSENT in before or set(looked_up) & set(key_at):
        return None
    base = incoming.plans.old.flat(before)
    return base if tuple(base[at] for at in key_at) == key else None


def looked_up_too(change: Write, at: int, found: Mapping[Any, Any], *, merges: bool) -> Write:
    """Return the change with the lookup column of its before image replaced by the value found.

    If changes are merged, two values that find the same one do not count as a change.
    """
    if change.base is None:
        return change
    old = change.base[at]
    was = None if old is None else found.get(text_key(old))
    was = None if isinstance(was, EventError) else was
    same = merges and was == change.values[at]
    base = (*change.base[:at], was, *change.base[at + 1 :])
    return change._replace(base=base, keep=change.keep | same << at)


def columns_before(mapping: TableMapping) -> tuple[str, ...]:
    """Return the source columns that the mapping needs in a before image."""
    return mapping.source_columns if mapping.needs_before_image else key_sources(mapping)


def key_sources(mapping: TableMapping) -> tuple[str, ...]:
    """Return the source columns from which the target's key is made."""
    key = mapping.derived.key if mapping.derived else mapping.key
    used = [name for c in mapping.columns if c.name in key for name in c.sources]
    return tuple(dict.fromkeys(used))
