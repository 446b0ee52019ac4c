"""What happens to a target row that exists already, and to one whose source row is removed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


class Strategy(enum.Enum):
    """Which of two rows stays: the incoming one or the target's."""

    NEWEST_WINS = "newest wins"
    SOURCE_WINS = "source wins"
    INSERT_ONCE = "insert once"
    MERGE_CHANGED = "merge changed"

    @property
    def replaces_rows(self) -> bool:
        """Whether an event has the same effect even if earlier events of its row were not applied.

        True for `newest_wins` and `source_wins`: an event carries the whole row, so it supersedes
        older dead letters of its row.  False for `insert_once`, where the first row stays, and for
        `merge_changed`, where an event brings only the columns that it changed: there an event
        waits behind an older one of its row that could not be applied.
        """
        return self in (Strategy.NEWEST_WINS, Strategy.SOURCE_WINS)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict rule: `newest_wins`, `source_wins`, `insert_once` or `merge_changed`."""

    strategy: Strategy
    version: str | None = None
    """The target column with the source's time of the row; NULL counts as the oldest time."""


def newest_wins(version: str) -> Conflict:
    """The row with the later `version` stays; with equal versions, the one that arrives later.

    Events arrive in the order of the log, but a batch run may write a row that it read before the
    last event.  So every change must increase the version (changes of one transaction may share
    it).  A batch run can undo a change that does not, until the row changes again.
    """
    return Conflict(Strategy.NEWEST_WINS, version)


def source_wins() -> Conflict:
    """Every event overwrites the target, in the order of the log."""
    return Conflict(Strategy.SOURCE_WINS)


def insert_once() -> Conflict:
    """The first row of a key stays unchanged."""
    return Conflict(Strategy.INSERT_ONCE)


def merge_changed(version: str) -> Conflict:
    """As `newest_wins`, but only for the columns that the event changed and that are not NULL.

    Needs the before image (`TableMapping.needs_before_image`).
    """
    return Conflict(Strategy.MERGE_CHANGED, version)


class Tie(enum.Enum):
    """Which row stays if both sides changed it at the same time."""

    SOURCE = "source"
    TARGET = "target"
    REVIEW = "review"
    """A person decides; until then the target's row stays unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictDetection:
    """Records a conflict if the target's owner has changed the same row.

    Needs `TableMapping.needs_before_image`: there is no conflict if the target has the before image
    of the event.  Only for `newest_wins` and `merge_changed`; with the other strategies it is clear
    which row stays.
    """

    tie: Tie = Tie.REVIEW
    owner_time: str | None = None
    """The target column with the time of the row's last write by any writer.

    It shows whose change is later if the version column has only the source's time."""


class OnTruncate(enum.Enum):
    """What happens to the target when the source table is truncated."""

    STOP = "stop"
    """The mapping stops at the TRUNCATE until you declare another choice."""
    EMPTY = "empty"
    """The target is emptied in the transaction that moves the offset past the TRUNCATE.

    Rows of the API's callbacks stay.  A topic with several partitions needs `source_wins` or
    `derived`, which remember the position of each row."""
    KEEP = "keep"
    """The target keeps its rows."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the target row.  For mappings that write to each other's source, see `Review`."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Leave the target row unchanged."""


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Set these columns of the target row, if it exists."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Review:
    """Leave the target row unchanged and record a conflict for a person to resolve.

    If two mappings write to each other's source table, one may delete a row while the other
    changes it, and the order of the two is lost.  Use `Review` in both, or mark deleted rows with a
    column that both mappings carry.
    """

    conflict_type: str = "deletion_conflict"


Action: TypeAlias = Delete | Ignore | SetColumns | Review
