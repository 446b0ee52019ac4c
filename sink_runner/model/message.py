"""A Kafka record with the fields that the runner needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NO_LEADER_EPOCH = -1
"""Kafka's value for an unknown leader epoch."""
NO_TIMESTAMP = -1
"""Kafka's value for a record without a timestamp."""
ROWS = -1
"""The partition number of rows that a batch run read from the table itself."""


class Message(NamedTuple):
    """A Kafka record: its position and its bytes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    leader_epoch: int = NO_LEADER_EPOCH
    """The epoch of the leader that appended the record."""
    timestamp: int = NO_TIMESTAMP
    """When the record was made, in milliseconds since 1970, as Kafka stores it."""


def is_moved(message: Message) -> bool:
    """Return whether this is the delete half of a primary-key change: the row has a new key."""
    return any(name == "__debezium.newkey" for name, _ in message.headers)
