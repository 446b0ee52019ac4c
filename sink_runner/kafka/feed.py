"""The protocol of a consumer: one topic, read in a consumer group.

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
        """Wait up to `seconds` for records; return at once what has arrived."""

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records."""

    def assignment(self) -> set[int]: ...

    def seek(self, partition: int, offset: int | None) -> None:
        """Go to `offset`, or to the partition's first record if None."""

    def bounds(self, partition: int) -> Bounds:
        """Return the offsets that Kafka holds of the partition."""

    def ping(self) -> None:
        """Raise RetriableError unless a broker answers within `PING_SECONDS`."""

    def mirror(self, offsets: Mapping[int, int]) -> None:
        """Commit the target's offsets to Kafka, for tools that watch lag.  Errors are ignored."""

    def close(self) -> None: ...
