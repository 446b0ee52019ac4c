"""What the routes of the console answer: names, times and numbers.

The only values of rows are those of an explained event, masked for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Applied(BaseModel):
    """How far a mapping has come."""

    applied: int = Field(
        description="The sum of the offsets that are applied: its growth is the rate."
    )
    deferred: int = Field(description="Events that wait for a row they refer to.")


class Progress(BaseModel):
    """How far each mapping has come; those of a database that does not answer are missing."""

    at: datetime
    mappings: Mapping[str, Applied]


class ChainPlugin(BaseModel):
    name: str
    version: str


class ChainStep(BaseModel):
    """A hook with its plugins in the order of their calls, or a step of the runner's own."""

    does: str
    hook: str
    plugins: Sequence[ChainPlugin]


class Chain(BaseModel):
    """What happens to an event, in order."""

    steps: Sequence[ChainStep]
    timings: Mapping[str, float] = Field(
        description="Mean seconds of each step of a batch since the runner was started."
    )


class ColumnInput(BaseModel):
    """A source column that the value of a target column depends on."""

    column: str
    tags: Sequence[str] = Field(description="Its classes of personal data.")
    mask: str = Field(description="What the target's group gets; empty: the value as it is.")
    is_value: bool = Field(description="False: it only finds the row of a lookup.")


class TargetColumn(BaseModel):
    """A target column and what its value is made of."""

    target: str
    inputs: Sequence[ColumnInput]
    steps: Sequence[str]


class Columns(BaseModel):
    columns: Sequence[TargetColumn]


class DeadLetterCount(BaseModel):
    """How many dead letters have failed for one reason."""

    error_class: str
    sqlstate: str | None
    status: str
    number: int
    first: datetime
    last: datetime


class DeadLetterCounts(BaseModel):
    counts: Sequence[DeadLetterCount]


class Conflict(BaseModel):
    """A row that both databases changed."""

    id: int
    type: str
    record: str = Field(description="Its key, or a fingerprint if the key is personal.")
    detected: datetime
    action: str | None = Field(description="The decision; null while it is open.")
    resolved_by: str | None


class Conflicts(BaseModel):
    """Conflicts in the mapping's target table, the newest first."""

    conflicts: Sequence[Conflict]


class ReconcileRun(BaseModel):
    """A comparison of source and target."""

    mode: str
    started: datetime
    finished: datetime | None
    outcome: str
    counts: Mapping[str, int]
    columns_differing: Mapping[str, int]


class Reconciliation(BaseModel):
    """The newest comparisons first."""

    runs: Sequence[ReconcileRun]


class EventChoice(BaseModel):
    """A row by its key in the source, or an event by its place in Kafka."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The value of the key, or JSON of its columns.",
    )
    at: str | None = Field(
        default=None,
        pattern=r"^[^:]{1,249}:[0-9]{1,9}:[0-9]{1,18}$",
        description="topic:partition:offset",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.key is None) == (self.at is None):
            raise ValueError("send key or at")
        return self


class ExplainedStep(BaseModel):
    name: str
    state: str
    detail: str


class ExplainedRow(BaseModel):
    """What a step would do with a row of the target; masked."""

    does: str
    row: Mapping[str, Any]


class Passage(BaseModel):
    """The steps of the source row or of an event through the mapping."""

    id: str
    steps: Sequence[ExplainedStep]
    rows: Sequence[ExplainedRow]


class Explanation(BaseModel):
    """Why a row is in the target or not."""

    sentence: str
    good: bool = Field(description="Whether the target is as the mapping says.")
    passages: Sequence[Passage]
    target: Mapping[str, Any] | None = Field(description="What the target has, masked.")
    facts: Sequence[str] = Field(description="Dead letters, conflicts, findings, audit entries.")
