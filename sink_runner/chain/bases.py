"""The row before a change, as it would have been written: what a contested mapping compares."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..plugin import ABSENT
from .incoming import Incoming

Values = tuple[Any, ...]


def base_of(
    incoming: Incoming, key: Values, key_at: Collection[int], looked_up: Collection[int]
) -> Values | None:
    """None where it is not known or had another key; None, too, for each value to look up."""
    before = incoming.decoded.before
    if before is None or ABSENT in before or set(looked_up) & set(key_at):
        return None
    base = incoming.plans.old.flat(before)
    if tuple(base[at] for at in key_at) != key:
        return None
    return tuple(None if at in looked_up else value for at, value in enumerate(base))
