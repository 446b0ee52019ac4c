"""Skip offsets that never had a record; raise FatalError if Kafka lost one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FatalError
from ..model.partition import Topic
from .feed import Bounds


class Gaps:
    """The gaps in the offsets of one worker's partitions."""

    def __init__(
        self, mapping: str, topic: Topic, bounds: Callable[[int], Bounds], log: Any
    ) -> None:
        """`bounds` returns a partition's offsets in Kafka, and retries until Kafka answers."""
        self._mapping, self._topic = mapping, topic
        self._bounds = bounds
        self._log = log
        self._seen: dict[int, tuple[int, int]] = {}

    def passes(self, partition: int, expected: int | None, offset: int) -> bool:
        """Whether to go on with a record at `offset` that came after a seek to `expected`.

        The first time it may be a rebalance between the seek and the poll; the second time it is a
        gap.  Raises FatalError if Kafka no longer holds the records between the two.  `expected` is
        None for the first record of the partition.
        """
        first, _ = self._bounds(partition)
        if expected is None:
            expected = first
            if offset <= first:
                return True
        if self._seen.pop(partition, None) != (expected, offset):
            self._seen[partition] = (expected, offset)
            return False
        self._check_first(partition, first, expected)
        self._log.warning("offsets_skipped", partition=partition, count=offset - expected)
        return True

    def check_first(self, partition: int, expected: int | None) -> None:
        """Raise FatalError if Kafka no longer holds the partition from `expected`.

        Without this check, the loss is found only when a record follows.
        """
        if expected is not None:
            self._check_first(partition, self._bounds(partition).first, expected)

    def check_end(self, partition: int, applied: int | None) -> None:
        """Raise FatalError if Kafka lost the end of its log, since new records would be skipped."""
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
                f"{first} WHERE (mapping, topic_id, partition) = "
                f"('{self._mapping}', '{self._topic.topic_id}', {partition}) AND "
                f"next_offset = {expected} in the target, and start the runner again"
            )
