"""Events are ordered by (LSN, ordinal in the transaction), or by version without a position."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.model.changes import Position
from sink_runner.model.envelope import Decoded
from sink_runner.plugin import (
    Column,
    Constant,
    Derived,
    SetColumns,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW
from sink_runner.transform.incoming import position_of

pytestmark = pytest.mark.postgres

LATER = NOW + timedelta(minutes=1)
EARLIER = NOW - timedelta(minutes=1)
DDL = "id int PRIMARY KEY, v text, at timestamp"
COLUMNS = (
    Column("id", type="integer"),
    Column("v", type="text"),
    Column("at", type="timestamp"),
)
MARK = SetColumns({"v": "gone"})


def derived() -> Derived:
    select = "SELECT id, v, at FROM {candidates} c"
    return Derived(key=("id",), group=("id",), select=select)


# -- within a transaction ----------------------------------------------------------------------


def test_delete_and_create_at_one_lsn_follow_ordinal(written) -> None:
    """One statement deletes a row and creates it again."""
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "was", NOW, position=(5, 1)))
    target.write(target.gone(1, position=(9, 1)))
    assert target.write(target.row(1, "again", NOW, position=(9, 2))) == 1
    assert target.rows("v") == [("again",)]


@pytest.mark.parametrize("ordinals", [(1, 2), (2, 1)])
def test_rows_at_one_lsn_follow_ordinal(written, ordinals: tuple[int, int]) -> None:
    target = written(DDL, *COLUMNS)
    for ordinal in ordinals:
        target.write(target.row(1, f"v{ordinal}", NOW, position=(9, ordinal)))
    assert target.rows("v") == [("v2",)]


@pytest.mark.parametrize(
    "strategy", [source_wins(), newest_wins("at")], ids=lambda conflict: conflict.strategy
)
@pytest.mark.parametrize("ordinals", [(1, 2), (2, 1)])
def test_candidates_at_one_lsn_follow_ordinal(
    written, ordinals: tuple[int, int], strategy: Any
) -> None:
    target = written(DDL, *COLUMNS, conflict=strategy, derived=derived())
    for ordinal in ordinals:
        target.write(target.row(1, f"v{ordinal}", NOW, position=(9, ordinal)))
    assert target.rows("v") == [("v2",)]


def test_older_delete_after_mark_is_stale(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "was", NOW, position=(5, 1)))
    target.write(target.gone(1, action=MARK, position=(9, 2)))
    assert target.write(target.gone(1, position=(9, 1))) == 0
    assert target.writer.state.outcomes["stale"] == 1
    assert target.rows("v") == [("gone",)]


# -- in commit order ---------------------------------------------------------------------------


def position(lsn: int, committed: int | None, order: int) -> Position | None:
    """Return the position of a change whose transaction began after the commit at `committed`."""
    last = "null" if committed is None else f'"{committed}"'
    fields = {"sequence": f'[{last},"{lsn}"]', "order": order}
    return position_of(Decoded("c", (), None, lsn, 0, None, None, **fields))


def test_insert_that_waited_for_key_wins(written) -> None:
    """An INSERT is logged before it waits for the transaction that has locked its key."""
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "first", NOW, position=position(100, 90, 1)))
    target.write(target.gone(1, position=position(200, 90, 2)))
    assert target.write(target.row(1, "inserted", NOW, position=position(150, 260, 1))) == 1
    assert target.rows("v") == [("inserted",)]


def test_position_is_never_before_the_change() -> None:
    """A batch run does not contain changes that are logged after its position."""
    assert position(100, 90, 1) == position(100, None, 1) == (100, 1)
    assert position(100, 260, 1) == (260, 1)


def test_position_without_ordinal_is_lsn() -> None:
    """Without an ordinal, the changes of a transaction cannot be ordered."""
    assert position(100, 260, 0) == (100, 0)


# -- without a position ------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", [newest_wins("at"), merge_changed("at")], ids=["new", "merge"])
class TestVersioned:
    """An API callback after a deletion: its version decides."""

    def deleted(self, written, conflict: Any) -> Any:
        target = written(DDL, *COLUMNS, conflict=conflict)
        target.write(target.row(1, "was", NOW, position=5))
        target.write(target.gone(1, position=7))
        return target

    def test_newer_than_tombstone_is_applied(self, written, conflict: Any) -> None:
        target = self.deleted(written, conflict)
        assert target.write(target.row(1, "back", LATER, position=None)) == 1
        assert target.writer.state.outcomes["stale"] == 0

    @pytest.mark.parametrize("at", [NOW, EARLIER])
    def test_older_than_tombstone_is_stale(self, written, conflict: Any, at: Any) -> None:
        target = self.deleted(written, conflict)
        assert target.write(target.row(1, "back", at, position=None)) == 0
        assert target.writer.state.outcomes["stale"] == 1
        assert target.rows() == []

    def test_tombstone_keeps_the_latest_version(self, written, conflict: Any) -> None:
        target = self.deleted(written, conflict)
        target.write(target.row(1, "back", LATER, position=None), target.gone(1, position=9))
        assert target.write(target.row(1, "back", LATER, position=None)) == 0
        assert target.write(target.row(1, "b", LATER + timedelta(minutes=1), position=None)) == 1


def test_unversioned_read_repairs_by_arrival(written) -> None:
    """A row of an incremental snapshot, after the target has lost it or holds another value."""
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "a", NOW, position=5), target.row(2, "a", NOW, position=6))
    target.scratch.admin.execute(f"DELETE FROM {target.table.sql_name} WHERE id = 1".encode())
    target.scratch.admin.execute(f"UPDATE {target.table.sql_name} SET v = 'x'".encode())
    reads = [target.row(key, "a", NOW, position=None) for key in (1, 2)]
    assert target.write(*reads) == 2
    assert target.rows("id, v") == [(1, "a"), (2, "a")]


def test_events_after_a_read_are_not_stale(written) -> None:
    """The partition is behind a batch run: what follows the read in it is later than the read."""
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "batch", NOW, position=60))
    target.write(target.row(1, "read", NOW, position=None))
    target.write(target.row(1, "then", NOW, position=50))
    assert target.rows("v") == [("then",)]


def test_read_after_tombstone_is_applied(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "a", NOW, position=5), target.gone(1, position=7))
    assert target.write(target.row(1, "a", NOW, position=None)) == 1


def test_delete_without_position_is_applied(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "a", NOW, position=5))
    assert target.write(target.gone(1, position=None)) == 1
    assert target.write(target.row(1, "a", NOW, position=5)) == 0, "a replay"


def test_candidate_without_position_is_kept(written) -> None:
    target = written(DDL, *COLUMNS, conflict=newest_wins("at"), derived=derived())
    target.write(target.row(1, "log", NOW, position=5))
    assert target.write(target.row(1, "callback", NOW, position=None)) == 1
    assert target.write(target.row(1, "log", LATER, position=7)) == 1
    assert target.rows("v") == [("log",)]


# -- stale events are counted ------------------------------------------------------------------


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins()], ids=["new", "source"])
def test_row_older_than_tombstone_counts_as_stale(written, conflict: Any) -> None:
    target = written(DDL, *COLUMNS, conflict=conflict)
    target.write(target.row(1, "was", NOW, position=5), target.gone(1, position=7))
    target.write(target.row(1, "was", LATER, position=6), target.row(2, "new", NOW, position=8))
    assert target.writer.state.outcomes["stale"] == 1
    target.write(target.row(3, "new", NOW, position=9))
    assert target.writer.state.outcomes["stale"] == 0


def test_older_row_counts_as_stale(written) -> None:
    target = written(DDL, Column("id"), Column("v"), Column("at", Constant(None)))
    target.write(target.row(1, "new", None, position=9))
    target.write(target.row(1, "old", None, position=5))
    assert target.writer.state.outcomes["stale"] == 1
