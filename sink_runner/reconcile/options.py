"""The options of a reconciliation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which rows are compared, and what is done with differences."""

    full: bool = False
    since: datetime | None = None
    """Naive, UTC."""
    sample: float | None = None
    """Per cent of the source's rows."""
    repair: bool = False
    dry_run: bool = False

    @property
    def mode(self) -> str:
        if self.sample is not None:
            return f"sample of {self.sample:g} %"
        if self.since is not None:
            return f"since {self.since}"
        return "full" if self.full else "changed"

    @property
    def covers_all(self) -> bool:
        """Whether a run without a difference verifies all of the source."""
        return self.sample is None and self.since is None
