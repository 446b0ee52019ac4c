"""Bodies of the responses to accepted events."""

from __future__ import annotations

from pydantic import BaseModel


class Accepted(BaseModel):
    """Where an accepted event is: durable, and on its way."""

    topic: str
    partition: int
    offset: int


class BulkAccepted(BaseModel):
    """Where each event is, in the order of the request."""

    accepted: list[Accepted]
