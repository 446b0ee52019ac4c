"""The protocol of a consumer: one topic, read in a consumer group.

Kafka's own offsets only mirror those of the target database, for tools that watch lag: the worker
seeks to the offsets of the database and ignores any other position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ..model.message import Message

PING_SECONDS = 5.0


class Bounds(NamedTuple):
    """The first offset that Kafka still has, and the offset of the next record."""

    first: int
    end: int


class Feed(Protocol):
    """The records of the partitions of one topic that the group assigned to this member."""

    def poll(self, seconds: float) -> Mapping[int, Sequence[Message]]:
        """Wait up to `seconds` for records; return at once what has arrived."""

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records."""

    def assignment(self) -> set[int]: ...

    def seek(self, partition: int, offset: int | None) -> None:
        """Go to `offset`, or to the partition's first record if None."""

    def bounds(self, partition: int) -> Bounds:
        """Return the bounds of the partition's log."""

    def ping(self) -> None:
        """Raise RetriableError unless a broker answers within `PING_SECONDS`."""

    def mirror(self, offsets: Mapping[int, int]) -> None:
        """Commit the target's offsets to Kafka, for tools that watch lag.  Errors are ignored."""

    def close(self) -> None: ...
