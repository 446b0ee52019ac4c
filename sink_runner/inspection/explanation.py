"""The steps of an event through a mapping, and the reason why its row is in the target or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

OK, STOPPED, FAILED = "ok", "stopped", "FAILED"


class Step(NamedTuple):
    """One step, its state and the reason."""

    name: str
    state: str
    detail: str


class Reason(StrEnum):
    """Why a row is in the target or not."""

    PRESENT = "present"
    """The target has the row as the event says."""
    REMOVED = "removed"
    """The event, or a later one, removes the row."""
    REMOVED_BY_BATCH = "removed_by_batch"
    """A batch run has removed the row."""
    FILTERED = "filtered"
    UNCHANGED = "unchanged"
    """The event changes no mapped column."""
    ECHO = "echo"
    """It is a write of this runner, which came back."""
    TOMBSTONE = "tombstone"
    STALE = "stale"
    """The target holds something newer."""
    SUPERSEDED = "superseded"
    """It was a dead letter, and a newer row was applied."""
    KEPT = "kept"
    """The conflict rule keeps values of the target."""
    LOST = "lost"
    """A conflict was decided for the target."""
    CONFLICT = "conflict"
    """A conflict waits for a person."""
    NO_RECORD = "no_record"
    """Kafka has no such record."""
    NOT_APPLIED = "not_applied"
    """The runner has not reached the event yet."""
    DEFERRED = "deferred"
    """It waits for a row, or behind an earlier event of its row."""
    DEAD = "dead"
    """It is an open dead letter."""
    DISCARDED = "discarded"
    """It was a dead letter that a person gave up."""
    FAILS = "fails"
    """It would fail now."""
    NO_SOURCE = "no_source"
    """The source has no such row."""
    NOT_CAPTURED = "not_captured"
    """The topic has no event of the row."""
    EXTRA = "extra"
    """The target has a row that the source does not have."""
    MISSING = "missing"
    """The event was applied, and something else has removed the row."""
    DIFFERENT = "different"
    """The event was applied, and something else has changed the row."""


_GOOD = frozenset(
    {
        Reason.PRESENT,
        Reason.REMOVED,
        Reason.REMOVED_BY_BATCH,
        Reason.FILTERED,
        Reason.UNCHANGED,
        Reason.ECHO,
        Reason.TOMBSTONE,
        Reason.STALE,
        Reason.SUPERSEDED,
        Reason.KEPT,
        Reason.LOST,
        Reason.NO_SOURCE,
    }
)
"""The reasons for which no action is needed."""


class Decision(NamedTuple):
    """The reason, and one sentence that holds no value of a row."""

    reason: Reason
    sentence: str

    @property
    def good(self) -> bool:
        """Whether the target is as the mapping says."""
        return self.reason in _GOOD


@dataclass(slots=True)
class Explained:
    """The steps that the event passed, and the rows that would be written."""

    id: str
    mapping: str
    steps: list[Step] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the target, masked."""
    target: dict[str, Any] | None = None
    """The row that the target has now, masked."""
    decision: Decision | None = None
    """None for a dead letter, of which only the steps are reported."""

    @property
    def good(self) -> bool:
        if self.decision is not None:
            return self.decision.good
        return all(step.state != FAILED for step in self.steps)

    @property
    def over(self) -> bool:
        return any(step.state != OK for step in self.steps)

    def add(self, name: str, state: str, detail: str) -> None:
        self.steps.append(Step(name, state, detail))

    def record(self) -> dict[str, Any]:
        steps = [step._asdict() for step in self.steps]
        found = {
            "id": self.id,
            "mapping": self.mapping,
            "good": self.good,
            "steps": steps,
            "rows": self.rows,
        }
        if self.decision is None:
            return found
        return {**self.decision._asdict(), **found, "target": self.target}
