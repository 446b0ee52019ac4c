"""Offsets without a record: passed over where Kafka gave them to none, a fault where it lost it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FatalError
from .feed import Bounds


class Gaps:
    """What one worker knows of the gaps in its partitions."""

    def __init__(self, mapping: str, bounds: Callable[[int], Bounds], log: Any) -> None:
        """`bounds` asks Kafka, for as long as it takes."""
        self._mapping = mapping
        self._bounds = bounds
        self._log = log
        self._met: dict[int, tuple[int, int]] = {}

    def passes(self, partition: int, expected: int | None, offset: int) -> bool:
        """May we go on with `offset`, which came after a seek to `expected`?

        Once may be a rebalance between the seek and the poll; twice is a gap.  FatalError if the
        records between the two were there and are no more.  `expected` is None for the first
        record of the partition.
        """
        first, _ = self._bounds(partition)
        if expected is None:
            expected = first
            if offset <= first:
                return True
        if self._met.pop(partition, None) != (expected, offset):
            self._met[partition] = (expected, offset)
            return False
        self._check_first(partition, first, expected)
        self._log.warning("offsets_skipped", partition=partition, count=offset - expected)
        return True

    def check_first(self, partition: int, expected: int | None) -> None:
        """FatalError if Kafka no longer holds the partition from `expected`.

        Where no record follows, no poll would tell.
        """
        if expected is not None:
            self._check_first(partition, self._bounds(partition).first, expected)

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

    def _check_first(self, partition: int, first: int, expected: int) -> None:
        if first > expected:
            raise FatalError(
                f"Kafka no longer holds partition {partition} from offset {expected} (its first is "
                f"{first}): raise the topic's retention, run `sink-runner batch {self._mapping} "
                "--full`, then UPDATE sink.partition_offset SET next_offset = "
                f"{first} WHERE mapping = '{self._mapping}' AND partition = {partition} AND "
                f"next_offset = {expected} in the target, and start the runner again"
            )
