"""Bodies of the responses to accepted events."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Accepted(BaseModel):
    """The position of an accepted event in Kafka."""

    topic: str
    partition: int
    offset: int


class BulkAccepted(BaseModel):
    """The position of each accepted event, in the order of the request."""

    accepted: list[Accepted]


class Requested(BaseModel):
    """What became of a request for a result."""

    status: Literal["requested", "exists"] = Field(
        description="`requested`: the result arrives later; `exists`: it can be read at `path`."
    )
    path: str | None = None
