"""The sessions and components that a reconciliation works with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..batch.plan import BatchPipeline
from ..postgres.session import Connection
from .comparison import Comparison
from .derived_rows import DerivedRows
from .digests import Digests
from .repair import Repair
from .settlement import Settlement
from .store import ReconcileStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The sessions and components of a reconciliation."""

    batch: BatchPipeline
    reader: Connection
    target: Connection
    comparison: Comparison
    settlement: Settlement
    repair: Repair | None
    store: ReconcileStore
    control: Connection
    derived: DerivedRows | None
    """The rows that are derived from candidates; None for a mapping without them."""
    digests: Digests | None
    """The digests of ranges that were equal; None if they could miss a change."""
    next_batch_run: datetime | None
