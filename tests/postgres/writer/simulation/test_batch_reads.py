"""Rows of an older batch run never win over events and incremental snapshots.

A row is changed by an event, read by an incremental snapshot, which has no position, and changed
by a later event. At any time in between, two batch runs write the row: one whose snapshot precedes
the first event, and one whose snapshot follows the last event.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from sink_runner.model.changes import BATCH_ORDINAL, Change
from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Derived,
    Tie,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW
from sink_runner.transform.key_identity import KeyIdentity
from sink_runner.writer.candidates import candidate_table

from .orders import interleavings

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, v text, at timestamp"
COLUMNS = (Column("id"), Column("v"), Column("at"))
TYPED = (
    Column("id", type="integer"),
    Column("v", type="text"),
    Column("at", type="timestamp"),
)
CANDIDATES: Mapping[str, Any] = {
    "derived": Derived(key=("id",), group=("id",), select="SELECT id, v, at FROM {candidates} c"),
    "columns": TYPED,
}
PASSED_ON: Mapping[str, Any] = {"identity": KeyIdentity.PASSED_ON}
SHARED: Mapping[str, Any] = {"identity": KeyIdentity.SHARED}
DETECTING: Mapping[str, Any] = {
    "conflict_detection": ConflictDetection(tie=Tie.SOURCE),
    "needs_before_image": True,
}

SOURCE, NEWEST, MERGE = source_wins(), newest_wins("at"), merge_changed("at")
KINDS: Mapping[str, Mapping[str, Any]] = {
    "source": {"conflict": SOURCE},
    "newest": {"conflict": NEWEST},
    "merge": {"conflict": MERGE, "needs_before_image": True},
    "conflict detection, newest": {"conflict": NEWEST, **DETECTING},
    "conflict detection, merge": {"conflict": MERGE, **DETECTING},
    "passed on, source": {"conflict": SOURCE, **PASSED_ON},
    "passed on, newest": {"conflict": NEWEST, **PASSED_ON},
    "passed on, merge": {"conflict": MERGE, "needs_before_image": True, **PASSED_ON},
    "shared, source": {"conflict": SOURCE, **SHARED},
    "shared, newest": {"conflict": NEWEST, **SHARED},
    "candidates, source": {"conflict": SOURCE, **CANDIDATES},
    "candidates, newest": {"conflict": NEWEST, **CANDIDATES},
    "candidates passed on, source": {"conflict": SOURCE, **CANDIDATES, **PASSED_ON},
    "candidates passed on, newest": {"conflict": NEWEST, **CANDIDATES, **PASSED_ON},
}
BY_POSITION = [name for name, declared in KINDS.items() if "source" in name]
"""Mappings without a version, which order rows by position."""
TIED = [*BY_POSITION, "conflict detection, newest", "candidates, newest", "passed on, newest"]
"""Mappings that order rows of equal versions by position."""
REMOVING = [name for name in KINDS if name not in {"newest", "merge"} and "cand" not in name]
"""Mappings that compare a removal's position with that of the row.

For the others, a batch run queries the source again before it removes a row.
"""


class RowHistory:
    """The changes of one source row, by events, an incremental snapshot and batch runs."""

    def __init__(self, target: Any, *, tied: bool = False) -> None:
        self._target = target
        self._tied = tied

    def _row(self, value: str, minutes: int, position: tuple[int, int] | None) -> Change:
        at: datetime = NOW if self._tied else NOW + timedelta(minutes=minutes)
        row: Change = self._target.row(1, value, at, position=position, owner=self._owner)
        return row

    @property
    def _owner(self) -> str | None:
        return "1" if self._target.identity is not KeyIdentity.SOURCE_ROW else None

    def old_batch(self) -> Change:
        return self._row("old", 0, (21, BATCH_ORDINAL))

    def first(self) -> Change:
        return self._row("first", 1, (40, 2))

    def read(self) -> Change:
        """Return the snapshot's row, with another value than the event's row."""
        return self._row("read", 2, None)

    def last(self) -> Change:
        return self._row("last", 3, (50, 1))

    def late_batch(self) -> Change:
        return self._row("last", 3, (60, BATCH_ORDINAL))

    def removal(self, lsn: int, ordinal: int = BATCH_ORDINAL) -> Change:
        gone: Change = self._target.gone(1, position=(lsn, ordinal), owner=self._owner)
        return gone

    def batch_removal(self, lsn: int) -> Change:
        """Return a batch run's removal, which has no owner: the run did not find the source row."""
        gone: Change = self._target.gone(1, position=(lsn, BATCH_ORDINAL))
        return gone


def make(written: Callable[..., Any], kind: str) -> Any:
    declared = dict(KINDS[kind])
    columns: Sequence[Column] = declared.pop("columns", COLUMNS)
    return written(DDL, *columns, **declared)


def reset(target: Any) -> None:
    tables = [target.table.sql_name, "sink.row_version"]
    if target.mapping.derived:
        tables.append(candidate_table(target.name))
    target.scratch.admin.execute(f"TRUNCATE {', '.join(tables)}".encode())


def write_from_empty(
    target: Any, changes: Sequence[Change], *, together: bool = False
) -> list[str]:
    """Write the changes to an empty target and return its values."""
    reset(target)
    for batch in [changes] if together else [[change] for change in changes]:
        target.write(*batch)
    return [value for (value,) in target.rows("v")]


@pytest.mark.parametrize("kind", KINDS)
def test_row_of_older_batch_never_wins(written: Callable[..., Any], kind: str) -> None:
    target = make(written, kind)
    history = RowHistory(target)
    for order in interleavings([[history.first(), history.read()], [history.old_batch()]]):
        assert write_from_empty(target, order) == ["read"], order


@pytest.mark.parametrize("kind", TIED)
def test_batch_row_of_same_version_loses(written: Callable[..., Any], kind: str) -> None:
    target = make(written, kind)
    history = RowHistory(target, tied=True)
    for order in interleavings([[history.first(), history.read()], [history.old_batch()]]):
        assert write_from_empty(target, order) == ["read"], order


@pytest.mark.parametrize("kind", KINDS)
def test_event_after_read_wins_over_batches(written: Callable[..., Any], kind: str) -> None:
    target = make(written, kind)
    history = RowHistory(target)
    events = [history.first(), history.read(), history.last()]
    for order in interleavings([events, [history.old_batch()], [history.late_batch()]]):
        assert write_from_empty(target, order) == ["last"], order


@pytest.mark.parametrize("kind", REMOVING)
def test_older_batch_removal_never_wins(written: Callable[..., Any], kind: str) -> None:
    """The row was created after the snapshot of the batch run."""
    target = make(written, kind)
    history = RowHistory(target)
    events = [history.first(), history.read()]
    for order in interleavings([events, [history.batch_removal(21)]]):
        assert write_from_empty(target, order) == ["read"], order
    for order in interleavings([[*events, history.last()], [history.batch_removal(21)]]):
        assert write_from_empty(target, order) == ["last"], order


@pytest.mark.parametrize("kind", KINDS)
def test_batch_removal_after_read_is_applied(written: Callable[..., Any], kind: str) -> None:
    target = make(written, kind)
    history = RowHistory(target)
    assert (
        write_from_empty(target, [history.first(), history.read(), history.batch_removal(60)]) == []
    )


@pytest.mark.parametrize("kind", KINDS)
def test_deletion_after_read_outlives_older_batch(written: Callable[..., Any], kind: str) -> None:
    """The deletion is delivered after a batch run whose snapshot still contained the row."""
    target = make(written, kind)
    history = RowHistory(target)
    first, batch = history.first(), history._row("first", 1, (45, BATCH_ORDINAL))
    order = [first, batch, history.read(), history.removal(44, 1), history.old_batch()]
    assert write_from_empty(target, order) == []


@pytest.mark.parametrize("kind", BY_POSITION)
def test_newer_batch_wins_over_read(written: Callable[..., Any], kind: str) -> None:
    target = make(written, kind)
    history = RowHistory(target)
    assert write_from_empty(target, [history.first(), history.read(), history.late_batch()]) == [
        "last"
    ]


@pytest.mark.parametrize("kind", TIED)
def test_read_in_transaction_of_event_keeps_position(
    written: Callable[..., Any], kind: str
) -> None:
    target = make(written, kind)
    history = RowHistory(target)
    assert write_from_empty(target, [history.first(), history.read()], together=True) == ["read"]
    target.write(history.old_batch())
    assert target.rows("v") == [("read",)]


@pytest.mark.parametrize("kind", BY_POSITION)
def test_read_row_outlives_older_truncate(written: Callable[..., Any], kind: str) -> None:
    """One transaction truncates and inserts the row; two partitions deliver these events."""
    target = make(written, kind)
    history = RowHistory(target)
    write_from_empty(target, [history.first(), history.read()])
    with target.connection.transaction():
        target.writer.truncate(target.connection, (40, 1), NOW)
    assert target.rows("v") == [("read",)]
