"""Write to a target without Kafka offsets, as a batch run does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from ..model.partition import Advance, Claim

Connection = psycopg.Connection[Any]

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sink/' || %s, 0))"


class MappingLock:
    """Keeps the events of a mapping out while a batch run, which has no offsets, writes.

    So what a transaction of the run finds in the target still holds when it commits.
    """

    def __init__(self, mapping: str) -> None:
        self._mapping = mapping

    def claim(self, connection: Connection, partitions: Iterable[int]) -> Mapping[int, Claim]:
        """Claim nothing: a batch run has no partitions."""
        del connection, partitions
        return {}

    def advance(self, connection: Connection, steps: Iterable[Advance]) -> None:
        """Wait for transactions that apply events; later ones wait for this transaction."""
        del steps
        connection.execute(_LOCK, (self._mapping,))

    def applied(self, connection: Connection, steps: Iterable[Advance]) -> bool:
        """Return False: there are no offsets that show whether rows of a batch were written."""
        del connection, steps
        return False
