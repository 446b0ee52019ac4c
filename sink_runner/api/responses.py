"""Bodies of the responses to accepted events."""

from __future__ import annotations

from pydantic import BaseModel


class Accepted(BaseModel):
    """The position of an accepted event in Kafka."""

    topic: str
    partition: int
    offset: int


class BulkAccepted(BaseModel):
    """The position of each accepted event, in the order of the request."""

    accepted: list[Accepted]
