"""The failure budget: how many dead letters a mapping may have before it stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from ..errors import FatalError
from ..model.dead_letter import DeadLetter, fails
from ..model.message import ROWS

Connection = psycopg.Connection[Any]

_SHARE_FROM = 100  # events: a share of fewer is not significant
# Counts only as many as the comparison with the budget needs.
_OPEN = """
SELECT count(*) FROM (
  SELECT FROM sink.dead_letter
  WHERE flow = %s AND status = 'OPEN' AND partition IS NOT NULL LIMIT %s
) open
"""


class Budget:
    """Stops a mapping before its whole topic becomes dead letters."""

    def __init__(self, mapping: str, most: int, share: float | None = None) -> None:
        self._mapping = mapping
        self._most = most
        self._share = share

    def check(
        self, connection: Connection, dead_letters: Sequence[DeadLetter], events: int
    ) -> None:
        """Raise FatalError if a batch of `events` with these dead letters exceeds the budget.

        The error rolls the caller's transaction back, so the offsets stay.
        """
        failed = sum(
            fails(dead_letter) and dead_letter.message.partition != ROWS
            for dead_letter in dead_letters
        )
        if not failed:
            return
        found = self.open(connection) + failed
        if found > self._most:
            self._stop(f"it has more than {self._most} open dead letters")
        if self._share is not None and events >= _SHARE_FROM and failed > self._share * events:
            self._stop(f"{failed} of {events} events failed, more than {self._share:.0%}")

    def open(self, connection: Connection) -> int:
        """Return the number of the mapping's OPEN dead letters of events."""
        found = connection.execute(_OPEN, (self._mapping, self._most + 1)).fetchone()
        assert found is not None
        return int(found[0])

    def left(self, connection: Connection) -> int:
        """Return how many more events may fail."""
        return max(0, self._most - self.open(connection))

    def _stop(self, reason: str) -> None:
        raise FatalError(
            f"the failure budget of mapping {self._mapping!r} is used up: {reason}. Nothing of "
            f"the batch was written; see `sink-runner dlq list --mapping {self._mapping}`, fix the "
            "cause, replay or discard the dead letters, and start again"
        )
