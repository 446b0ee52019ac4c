"""The row before a change, as it would have been written: what a contested mapping compares."""

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
    """None where it is not known or had another key; what is to be looked up is so later."""
    before = incoming.decoded.before
    if before is None or ABSENT in before or set(looked_up) & set(key_at):
        return None
    base = incoming.plans.old.flat(before)
    return base if tuple(base[at] for at in key_at) == key else None


def looked_up_too(change: Write, at: int, found: Mapping[Any, Any], *, merges: bool) -> Write:
    """The change with what was found for the row before; by `found`'s texts, as for the row itself.

    Where changes are merged, another spelling of an equal value does not count as a change.
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
    """The source columns that the mapping needs of a row before its change."""
    return mapping.source_columns if mapping.needs_before_image else key_sources(mapping)


def key_sources(mapping: TableMapping) -> tuple[str, ...]:
    """The source columns that the target's key is made of."""
    key = mapping.derived.key if mapping.derived else mapping.key
    used = [name for c in mapping.columns if c.name in key for name in c.sources]
    return tuple(dict.fromkeys(used))
