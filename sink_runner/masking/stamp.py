"""Which policies a batch was masked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Hidden = Mapping[str, frozenset[str]]
"""Source columns that the target may not have as they are; for each its own columns there."""


class Masking(NamedTuple):
    """The policies' version and digest, and the target's columns that they mask."""

    version: int
    digest: str
    columns: tuple[str, ...]
    hidden: Hidden | None = None
    """What hooks do not see, and what is looked for in every row that they change; None where
    the mapping has no hooks that see rows."""
