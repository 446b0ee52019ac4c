"""What happens where two rows meet, and where one departs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


class Strategy(enum.Enum):
    """How an incoming row and the target's row become one."""

    NEWEST_WINS = "newest wins"
    SOURCE_WINS = "source wins"
    INSERT_ONCE = "insert once"
    MERGE_CHANGED = "merge changed"

    @property
    def replaces_rows(self) -> bool:
        """Whether the effect of an event is the same whatever became of earlier events of its row.

        True for `newest_wins` and `source_wins`: an event carries the whole row, so it supersedes
        older dead letters of its row.  False for `insert_once`, where the first row stays, and for
        `merge_changed`, where an event brings only the columns that it changed: there an event
        waits behind an older one of its row that could not be applied.
        """
        return self in (Strategy.NEWEST_WINS, Strategy.SOURCE_WINS)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict rule: a value that the writer compiles into SQL."""

    strategy: Strategy
    version: str | None = None
    """The target column that holds the source's time; NULL there counts as oldest."""


def newest_wins(version: str) -> Conflict:
    """The row with the later `version` stays; of two equal ones the one that comes later.

    Events come in the order of the log; a batch's row is as late as the batch.  So a version has
    to move with every change (two of one transaction may share it): a change that leaves it where
    it was can be undone by a batch that had read the row before, until the row changes again.
    """
    return Conflict(Strategy.NEWEST_WINS, version)


def source_wins() -> Conflict:
    """Every event overwrites the target, in the order of the log."""
    return Conflict(Strategy.SOURCE_WINS)


def insert_once() -> Conflict:
    """The first row of a key stays for good."""
    return Conflict(Strategy.INSERT_ONCE)


def merge_changed(version: str) -> Conflict:
    """As `newest_wins`, but only for the columns that the event changed and that are not NULL.

    Needs the old row (`TableMapping.needs_before_image`).
    """
    return Conflict(Strategy.MERGE_CHANGED, version)


class Tie(enum.Enum):
    """Which side stays where both changed a row at the same time."""

    SOURCE = "source"
    TARGET = "target"
    REVIEW = "review"
    """A person decides; until then the target's row stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictDetection:
    """The target's owner changes the same rows: what meets there is recorded as a conflict.

    Needs `needs_before_image`: an event whose row before the change is what the target has contests
    nothing.  For `newest_wins` and `merge_changed` alone; the others leave nothing to contest.
    """

    tie: Tie = Tie.REVIEW
    owner_time: str | None = None
    """The target column with the time of its last write, whoever wrote; where the version
    column knows the source's time alone, it tells whether the owner's change is later."""


class OnTruncate(enum.Enum):
    """What becomes of the target when the source table is truncated."""

    STOP = "stop"
    """The mapping stops with its offsets before the TRUNCATE, until you declare another choice."""
    EMPTY = "empty"
    """The target is emptied in the transaction that moves the offset past the TRUNCATE.

    Rows of the API's callbacks stay.  A topic with several partitions needs `source_wins` or
    `derived`, which remember the position of each row."""
    KEEP = "keep"
    """The target keeps its rows."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the target row.  Not for two mappings that feed each other: see `Review`."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Leave the target row as it is."""


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Set these columns of the target row, if it is there."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Review:
    """Leave the target row and record a conflict for a person to resolve.

    Of two mappings that feed each other one may delete a row while the other changes it, and
    nothing tells afterwards which was meant: let both review, or delete by a column they carry.
    """

    conflict_type: str = "deletion_conflict"


Action: TypeAlias = Delete | Ignore | SetColumns | Review
