"""A Kafka record, by what the runner needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NO_LEADER_EPOCH = -1
"""What Kafka says where no leader epoch is known."""
NO_TIMESTAMP = -1
"""What Kafka says where a record has no timestamp."""
ROWS = -1
"""The partition of what a batch read from the table itself."""


class Message(NamedTuple):
    """A Kafka record: where it stands and its bytes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    leader_epoch: int = NO_LEADER_EPOCH
    """Of the leader that appended the record."""
    timestamp: int = NO_TIMESTAMP
    """When the record was made, in milliseconds since 1970, as Kafka stores it."""


def is_moved(message: Message) -> bool:
    """Is the delete half of a change of the primary key?  Then the row lives on."""
    return any(name == "__debezium.newkey" for name, _ in message.headers)
