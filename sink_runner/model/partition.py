"""A partition of a topic and the offset up to which it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .message import NO_LEADER_EPOCH


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic by more than its name: one that was deleted and made anew starts at 0 again."""

    cluster_id: str
    name: str
    topic_id: str


class Claim(NamedTuple):
    """A partition that is ours for as long as its epoch holds."""

    epoch: int
    next_offset: int | None
    """None: nothing of this partition was ever applied."""
    leader_epoch: int = NO_LEADER_EPOCH
    """Kafka's, of the last record that was applied."""


class Advance(NamedTuple):
    """One partition's step forward: what it stood at, where it goes.

    A step to where it stands moves nothing, and still makes sure that nobody else does.
    """

    partition: int
    epoch: int
    expected: int | None
    next_offset: int | None
    leader_epoch: int = NO_LEADER_EPOCH
