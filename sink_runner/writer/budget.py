"""How many events of a mapping may fail before it is the mapping that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from ..errors import FatalError
from ..model.dead_letter import DeadLetter, fails
from ..model.message import ROWS

Connection = psycopg.Connection[Any]

_ENOUGH = 100  # events: of fewer, a share says little
# No more are counted than it takes to know.
_OPEN = """
SELECT count(*) FROM (
  SELECT FROM sink.dead_letter
  WHERE flow = %s AND status = 'OPEN' AND partition IS NOT NULL LIMIT %s
) open
"""


class Budget:
    """Stops one mapping before it drains its topic into the dead letters."""

    def __init__(self, mapping: str, most: int, share: float | None = None) -> None:
        self._mapping = mapping
        self._most = most
        self._share = share

    def check(
        self, connection: Connection, dead_letters: Sequence[DeadLetter], events: int
    ) -> None:
        """Raise FatalError if these dead letters of a batch of so many events are too many.

        The caller's transaction, which is to write them, ends with it: the offsets stay.
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
        if self._share is not None and events >= _ENOUGH and failed > self._share * events:
            self._stop(f"{failed} of {events} events failed, more than {self._share:.0%}")

    def open(self, connection: Connection) -> int:
        """How many of the mapping's events are dead letters that a person has to decide on."""
        found = connection.execute(_OPEN, (self._mapping, self._most + 1)).fetchone()
        assert found is not None
        return int(found[0])

    def left(self, connection: Connection) -> int:
        """How many more may fail."""
        return max(0, self._most - self.open(connection))

    def _stop(self, reason: str) -> None:
        raise FatalError(
            f"the failure budget of mapping {self._mapping!r} is used up: {reason}.  Nothing of "
            f"the batch was written; see `sink-runner dlq list --mapping {self._mapping}`, mend "
            "what is wrong, replay or discard, and start again"
        )
