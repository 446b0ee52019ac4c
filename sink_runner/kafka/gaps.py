"""Offsets without a record: passed over where Kafka gave them to none, a fault where it lost it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FatalError
from .feed import Bounds


class Gaps:
    """What one worker knows of the gaps in its partitions."""

    def __init__(self, bounds: Callable[[int], Bounds], log: Any) -> None:
        """`bounds` asks Kafka, for as long as it takes."""
        self._bounds = bounds
        self._log = log
        self._met: dict[int, tuple[int, int]] = {}

    def passes(self, partition: int, expected: int, offset: int) -> bool:
        """May we go on with `offset`, which came after a seek to `expected`?

        Once may be a rebalance between the seek and the poll; twice is a gap.  FatalError if the
        records between the two were there and are no more.
        """
        if self._met.pop(partition, None) != (expected, offset):
            self._met[partition] = (expected, offset)
            return False
        first, _ = self._bounds(partition)
        if first > expected:
            raise FatalError(
                f"Kafka no longer holds partition {partition} from offset {expected} "
                f"(its first is {first}): raise the topic's retention and snapshot the source anew"
            )
        self._log.warning("offsets_skipped", partition=partition, count=offset - expected)
        return True

    def check_end(self, partition: int, applied: int | None) -> None:
        """FatalError if Kafka lost the end of its log: what comes there now would be skipped."""
        if applied is None:
            return
        _, end = self._bounds(partition)
        if end < applied:
            raise FatalError(
                f"the target has applied partition {partition} up to offset {applied}, and Kafka's "
                f"log ends at {end}: records were lost there; snapshot the source into a new topic"
            )
