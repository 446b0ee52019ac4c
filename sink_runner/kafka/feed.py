"""What the worker needs of Kafka: one topic, read in a consumer group.

Kafka's own offsets only mirror what the target database holds, for tools that watch lag:
the worker seeks to what the database says and never trusts a position it did not set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ..model.message import Message

PING_SECONDS = 5.0


class Bounds(NamedTuple):
    """The first offset that is still held, and the one that the next record gets."""

    first: int
    end: int


class Feed(Protocol):
    """The records of one topic's partitions that the group gave to this member."""

    def poll(self, seconds: float) -> Mapping[int, Sequence[Message]]:
        """Wait for records, at most so long; what is there comes at once."""

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records."""

    def assignment(self) -> set[int]: ...

    def seek(self, partition: int, offset: int | None) -> None:
        """Go to `offset`, or to the partition's first record if None."""

    def bounds(self, partition: int) -> Bounds:
        """From where to where Kafka holds the partition now."""

    def ping(self) -> None:
        """RetriableError unless a broker answers within seconds."""

    def mirror(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka how far the target is.  A failure is of no consequence."""

    def close(self) -> None: ...
