"""The settings of ``[schedule]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ..model.timetable import Cron, Maintenance
from .values import doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When one mapping's batch runs, in place of what the mapping declares."""

    changed: tuple[str, ...] = field(
        default=(), metadata=doc("Cron expressions, UTC: what changed since the last run.")
    )
    full: tuple[str, ...] = field(
        default=(), metadata=doc("Cron expressions, UTC: the whole table.")
    )

    def __post_init__(self) -> None:
        for expression in (*self.changed, *self.full):
            Cron(expression)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """How the batches that the mappings schedule are run."""

    retries: int = field(default=3, metadata=doc("Attempts after the first that fails.", minimum=0))
    retry_minutes: float = field(default=5.0, metadata=doc("Time between two attempts.", minimum=0))
    late_minutes: float = field(
        default=15.0, metadata=doc("A start that is later than this is told of.", minimum=0)
    )
    limit_minutes: float = field(
        default=60.0,
        metadata=doc(
            "A run that takes longer than this, or than its schedule expects, is told of."
        ),
    )
    tolerated_rows: int = field(
        default=100,
        metadata=doc(
            "Rows of a run that may end as dead letters before it counts as failed.", minimum=0
        ),
    )
    at_once: int = field(
        default=2, metadata=doc("Batches that may run together, each to another table.", minimum=1)
    )
    maintenance: str = field(
        default="0 2 * * SUN#1",
        metadata=doc(
            'When no batch starts: a cron expression for its beginning, UTC; "" is never.'
        ),
    )
    maintenance_minutes: float = field(
        default=120.0,
        metadata=doc("How long; what was missed is caught up once afterwards.", minimum=0),
    )
    mappings: Mapping[str, Times] = field(
        default_factory=dict,
        metadata=doc("Mappings with times other than their own; empty lists are none."),
    )

    def __post_init__(self) -> None:
        if self.maintenance:
            Cron(self.maintenance)

    @property
    def window(self) -> Maintenance:
        """The hours in which nothing starts."""
        return Maintenance(self.maintenance, timedelta(minutes=self.maintenance_minutes))
