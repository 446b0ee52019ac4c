"""Which policies a batch was masked by."""

from __future__ import annotations

from typing import NamedTuple


class Masking(NamedTuple):
    """The policies' version and digest, and the target's columns that they mask."""

    version: int
    digest: str
    columns: tuple[str, ...]
