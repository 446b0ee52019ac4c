"""What becomes of the events that are read: each has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from .batch import Batch


class Outcome(StrEnum):
    """The outcome of an event."""

    WRITTEN = "written"
    """It inserted or updated a row of the target."""
    REMOVED = "removed"
    """It deleted a row of the target, marked it as removed, or emptied the table."""
    UNCHANGED = "unchanged"
    """The target already is as the event says, or keeps its row by the declared strategy."""
    STALE = "stale"
    """The target has something newer."""
    SUPERSEDED = "superseded"
    """A later event of the same batch replaced it."""
    CONFLICT = "conflict"
    """A conflict left the target's row as it is, or waits for a person."""
    FILTERED = "filtered"
    """The filter, or what the mapping declares, leaves it out."""
    ECHO = "echo"
    """It is a write of this runner that came back."""
    TOMBSTONE = "tombstone"
    """A record without a value, of a deletion that is already applied or not derivable."""
    DEFERRED = "deferred"
    """It waits in the retry queue."""
    DEAD = "dead"
    """It is an open dead letter."""


_OF_STATUS = {
    "OPEN": Outcome.DEAD,
    "PARKED": Outcome.DEFERRED,
    "SUPERSEDED": Outcome.SUPERSEDED,
}


def count_outcomes(batch: Batch) -> Counter[str]:
    """Return how many of the events of a committed batch had which outcome.

    The target says which rows it changed and which were newer; what is left needed no change.
    """
    statuses = {id(one.message): one.status for one in batch.dead_letters}
    counts = batch.counts + batch.applied
    counts.update(_OF_STATUS[status] for status in statuses.values())
    counts[Outcome.UNCHANGED] += batch.read - counts.total()
    return +counts
