"""The settings of a mapping's worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..model.portions import DEFAULT_BYTES
from ..retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker retries, fills its batches and does its maintenance."""

    retry: RetryPolicy
    maintenance_seconds: float
    """Seconds between two rounds of maintenance."""
    tombstone_retention: timedelta
    linger: float = 0.0
    """Seconds to wait for more records of a batch."""
    max_batch_rows: int = 1
    """A batch of this many rows is written at once."""
    max_bytes: int = DEFAULT_BYTES
    """The most bytes of records in one batch; a larger record is a batch of its own."""
