"""An older batch run never wins over what the log and an incremental snapshot have brought.

A row is created or changed by an event, read again by an incremental snapshot, which has no
position, and changed by an event later.  Two batch runs come at any time in between: one whose
snapshot was taken before the first event, and one whose snapshot was taken after the last, which
the partition is behind.
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
CONTESTED: Mapping[str, Any] = {
    "conflict_detection": ConflictDetection(tie=Tie.SOURCE),
    "needs_before_image": True,
}

SOURCE, NEWEST, MERGE = source_wins(), newest_wins("at"), merge_changed("at")
KINDS: Mapping[str, Mapping[str, Any]] = {
    "source": {"conflict": SOURCE},
    "newest": {"conflict": NEWEST},
    "merge": {"conflict": MERGE, "needs_before_image": True},
    "contested newest": {"conflict": NEWEST, **CONTESTED},
    "contested merge": {"conflict": MERGE, **CONTESTED},
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
"""Those whose older row of the same or no version only the position tells."""
TIED = [*BY_POSITION, "contested newest", "candidates, newest", "passed on, newest"]
"""Those that a position tells rows of the same version apart, too."""
REMOVING = [name for name in KINDS if name not in {"newest", "merge"} and "cand" not in name]
"""Those that compare a removal's position with that of the row.

Elsewhere a batch run removes only rows that the source, asked again, still does not have.
"""


class Told:
    """The changes of one source row, and the batch runs that saw it."""

    def __init__(self, made: Any, *, tied: bool = False) -> None:
        self._made = made
        self._tied = tied

    def _row(self, value: str, minutes: int, position: tuple[int, int] | None) -> Change:
        at: datetime = NOW if self._tied else NOW + timedelta(minutes=minutes)
        row: Change = self._made.row(1, value, at, position=position, owner=self._owner)
        return row

    @property
    def _owner(self) -> str | None:
        return "1" if self._made.identity is not KeyIdentity.SOURCE_ROW else None

    def old_batch(self) -> Change:
        return self._row("old", 0, (21, BATCH_ORDINAL))

    def first(self) -> Change:
        return self._row("first", 1, (40, 2))

    def read(self) -> Change:
        """It holds what a hook makes of the row now, so that it differs from the event's row."""
        return self._row("read", 2, None)

    def last(self) -> Change:
        return self._row("last", 3, (50, 1))

    def late_batch(self) -> Change:
        return self._row("last", 3, (60, BATCH_ORDINAL))

    def removal(self, lsn: int, ordinal: int = BATCH_ORDINAL) -> Change:
        gone: Change = self._made.gone(1, position=(lsn, ordinal), owner=self._owner)
        return gone

    def batch_removal(self, lsn: int) -> Change:
        """A batch run knows no source row of a key that it did not find."""
        gone: Change = self._made.gone(1, position=(lsn, BATCH_ORDINAL))
        return gone


def make(written: Callable[..., Any], kind: str) -> Any:
    declared = dict(KINDS[kind])
    columns: Sequence[Column] = declared.pop("columns", COLUMNS)
    return written(DDL, *columns, **declared)


def reset(made: Any) -> None:
    tables = [made.table.sql_name, "sink.row_version"]
    if made.mapping.derived:
        tables.append(candidate_table(made.name))
    made.scratch.admin.execute(f"TRUNCATE {', '.join(tables)}".encode())


def ends(made: Any, changes: Sequence[Change], *, together: bool = False) -> list[str]:
    """The values of the target after the changes, from nothing."""
    reset(made)
    for part in [changes] if together else [[change] for change in changes]:
        made.write(*part)
    return [value for (value,) in made.rows("v")]


@pytest.mark.parametrize("kind", KINDS)
def test_row_of_older_batch_never_wins(written: Callable[..., Any], kind: str) -> None:
    made = make(written, kind)
    told = Told(made)
    for order in interleavings([[told.first(), told.read()], [told.old_batch()]]):
        assert ends(made, order) == ["read"], order


@pytest.mark.parametrize("kind", TIED)
def test_batch_row_of_same_version_loses(written: Callable[..., Any], kind: str) -> None:
    made = make(written, kind)
    told = Told(made, tied=True)
    for order in interleavings([[told.first(), told.read()], [told.old_batch()]]):
        assert ends(made, order) == ["read"], order


@pytest.mark.parametrize("kind", KINDS)
def test_event_after_read_wins_over_batches(written: Callable[..., Any], kind: str) -> None:
    made = make(written, kind)
    told = Told(made)
    events = [told.first(), told.read(), told.last()]
    for order in interleavings([events, [told.old_batch()], [told.late_batch()]]):
        assert ends(made, order) == ["last"], order


@pytest.mark.parametrize("kind", REMOVING)
def test_older_batch_removal_never_wins(written: Callable[..., Any], kind: str) -> None:
    """The batch run did not find the row, which came only then."""
    made = make(written, kind)
    told = Told(made)
    events = [told.first(), told.read()]
    for order in interleavings([events, [told.batch_removal(21)]]):
        assert ends(made, order) == ["read"], order
    for order in interleavings([[*events, told.last()], [told.batch_removal(21)]]):
        assert ends(made, order) == ["last"], order


@pytest.mark.parametrize("kind", KINDS)
def test_batch_removal_after_read_is_applied(written: Callable[..., Any], kind: str) -> None:
    made = make(written, kind)
    told = Told(made)
    assert ends(made, [told.first(), told.read(), told.batch_removal(60)]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_deletion_after_read_outlives_older_batch(written: Callable[..., Any], kind: str) -> None:
    """The deletion's partition is behind a batch run, which still had the row."""
    made = make(written, kind)
    told = Told(made)
    first, batch = told.first(), told._row("first", 1, (45, BATCH_ORDINAL))
    order = [first, batch, told.read(), told.removal(44, 1), told.old_batch()]
    assert ends(made, order) == []


@pytest.mark.parametrize("kind", BY_POSITION)
def test_newer_batch_wins_over_read(written: Callable[..., Any], kind: str) -> None:
    made = make(written, kind)
    told = Told(made)
    assert ends(made, [told.first(), told.read(), told.late_batch()]) == ["last"]


@pytest.mark.parametrize("kind", TIED)
def test_read_in_transaction_of_event_keeps_position(
    written: Callable[..., Any], kind: str
) -> None:
    made = make(written, kind)
    told = Told(made)
    assert ends(made, [told.first(), told.read()], together=True) == ["read"]
    made.write(told.old_batch())
    assert made.rows("v") == [("read",)]


@pytest.mark.parametrize("kind", BY_POSITION)
def test_read_row_outlives_older_truncate(written: Callable[..., Any], kind: str) -> None:
    """TRUNCATE and the row that came after it, in one transaction and by two partitions."""
    made = make(written, kind)
    told = Told(made)
    ends(made, [told.first(), told.read()])
    with made.connection.transaction():
        made.writer.truncate(made.connection, (40, 1), NOW)
    assert made.rows("v") == [("read",)]
