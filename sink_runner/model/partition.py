"""A partition of a topic and the offset up to which it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .message import NO_LEADER_EPOCH


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with its id: once deleted and created again, it has another id and starts at 0."""

    cluster_id: str
    name: str
    topic_id: str


class Claim(NamedTuple):
    """A claimed partition, which this process owns until the stored epoch changes."""

    epoch: int
    next_offset: int | None
    """None: no event of this partition has been applied."""
    leader_epoch: int = NO_LEADER_EPOCH
    """Kafka's leader epoch of the last record that was applied."""


class Advance(NamedTuple):
    """A partition's step from its expected offset to the next one.

    A step to the same offset still makes sure that no other process has moved the partition.
    """

    partition: int
    epoch: int
    expected: int | None
    next_offset: int | None
    leader_epoch: int = NO_LEADER_EPOCH
