"""The changes and dead letters that the events of a poll or the rows of a batch run result in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import psycopg

from .changes import Change, Position
from .dead_letter import DeadLetter
from .message import Message

Hidden = Mapping[str, frozenset[str]]
"""Source columns that must not reach the target unmasked, with the target columns made of each."""


class Masking(NamedTuple):
    """The policies' version and digest, and the target's columns that they mask."""

    version: int
    digest: str
    columns: tuple[str, ...]
    hidden: Hidden | None = None
    """The values that hooks do not see and that no row changed by a hook may contain; None where
    no hook of the mapping sees rows."""


WaitingKey: TypeAlias = tuple[int, bytes]
"""A partition and the fingerprint of a key in it.

Events without a key wait for each other; rows of a batch run without one wait for nothing.
"""


class Superseding(Protocol):
    """The stored dead letters that the events of a batch supersede."""

    stored: int
    """How many stored dead letters were superseded by the last attempt."""
    settled: Collection[WaitingKey]
    """The keys of the dead letters that were superseded by the last attempt."""

    def settle(
        self,
        connection: psycopg.Connection[Any],
        mapping: str,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
    ) -> list[DeadLetter]:
        """Mark the dead letters that the applied events supersede, in the caller's transaction."""

    def independent(self, changes: Sequence[Change]) -> dict[int, Message]:
        """Return the events that need not wait for earlier ones, by their messages' identity."""


class Oldest(NamedTuple):
    """When an event was committed, and when its record was made, in milliseconds since 1970."""

    committed_ms: int
    record_ms: int


@dataclass(slots=True)
class Batch:
    """The changes and dead letters of a poll's events."""

    changes: list[Change] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How many events had an outcome that leads to no change."""
    applied: Counter[str] = field(default_factory=Counter)
    """The number of events by their outcome in the target; set by the commit."""
    defaults: list[tuple[Message, str]] = field(default_factory=list)
    """Where a column's default was used."""
    masking: Masking | None = None
    oldest: Oldest | None = None
    """The event that the source committed first."""
    read: int = 0
    """How many events were read, including those without a change or a dead letter."""
    taken: float | None = None
    """When the events were polled from Kafka: Unix time."""
    last_ms: int | None = None
    """When the source committed the last of the events."""
    began: float = 0.0
    """When the decoding of the events began, by the monotonic clock."""
    trace: Any = None
    """What is noted for the trace of the batch; None if it is not traced."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took, by the steps of `sink_batch_step_seconds`."""
    callbacks: set[int] = field(default_factory=set)
    """The events of API callbacks, which are in no table's log, by the identity of their
    messages."""
    truncated: Position | None = None
    """The position of the source table's last TRUNCATE, if the target has to follow it."""
    superseding: Superseding | None = None
    """The dead letters that the events supersede; None where events wait for older ones of their
    row."""

    @property
    def superseded(self) -> int:
        """How many dead letters became SUPERSEDED when the batch was committed."""
        stored = self.superseding.stored if self.superseding else 0
        return stored + sum(dead_letter.superseded for dead_letter in self.dead_letters)
