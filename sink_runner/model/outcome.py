"""The outcomes of events: each event that is read has exactly one."""

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
    """The target already equals the event, or keeps its row by the declared strategy."""
    STALE = "stale"
    """The target has something newer."""
    SUPERSEDED = "superseded"
    """A later event of the same batch replaced it."""
    CONFLICT = "conflict"
    """A conflict left the target's row as it is, or waits for a person."""
    FILTERED = "filtered"
    """The filter or the mapping's declaration excludes it."""
    ECHO = "echo"
    """It is a write of this runner, captured from the other database's log."""
    TOMBSTONE = "tombstone"
    """A Kafka tombstone that removes no row, usually because its delete event was applied."""
    DEFERRED = "deferred"
    """It waits in the retry queue."""
    DEAD = "dead"
    """It is an open dead letter."""


_BY_STATUS = {
    "OPEN": Outcome.DEAD,
    "PARKED": Outcome.DEFERRED,
    "SUPERSEDED": Outcome.SUPERSEDED,
}


def count_outcomes(batch: Batch) -> Counter[str]:
    """Return the number of a committed batch's events by outcome.

    The write counted the rows that it changed and those that were newer in the target; the
    remaining events needed no change.
    """
    statuses = {id(one.message): one.status for one in batch.dead_letters}
    counts = batch.counts + batch.applied
    counts.update(_BY_STATUS[status] for status in statuses.values())
    counts[Outcome.UNCHANGED] += batch.read - counts.total()
    return +counts
