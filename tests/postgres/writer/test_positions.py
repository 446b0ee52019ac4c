"""Events are ordered by (LSN, number in the transaction); those without one by their version."""

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
    """A row that is deleted and comes back by one statement."""
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "was", NOW, position=(5, 1)))
    made.write(made.gone(1, position=(9, 1)))
    assert made.write(made.row(1, "again", NOW, position=(9, 2))) == 1
    assert made.rows("v") == [("again",)]


@pytest.mark.parametrize("ordinals", [(1, 2), (2, 1)])
def test_rows_at_one_lsn_follow_ordinal(written, ordinals: tuple[int, int]) -> None:
    made = written(DDL, *COLUMNS)
    for ordinal in ordinals:
        made.write(made.row(1, f"v{ordinal}", NOW, position=(9, ordinal)))
    assert made.rows("v") == [("v2",)]


@pytest.mark.parametrize("strategy", [source_wins(), newest_wins("at")], ids=lambda it: it.strategy)
@pytest.mark.parametrize("ordinals", [(1, 2), (2, 1)])
def test_candidates_at_one_lsn_follow_ordinal(
    written, ordinals: tuple[int, int], strategy: Any
) -> None:
    made = written(DDL, *COLUMNS, conflict=strategy, derived=derived())
    for ordinal in ordinals:
        made.write(made.row(1, f"v{ordinal}", NOW, position=(9, ordinal)))
    assert made.rows("v") == [("v2",)]


def test_older_delete_after_mark_is_stale(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "was", NOW, position=(5, 1)))
    made.write(made.gone(1, action=MARK, position=(9, 2)))
    assert made.write(made.gone(1, position=(9, 1))) == 0
    assert made.writer.state.outcomes["stale"] == 1
    assert made.rows("v") == [("gone",)]


# -- by the order of the commits ---------------------------------------------------------------


def at(lsn: int, committed: int | None, order: int) -> Position | None:
    """The position of a change whose transaction began after the commit at `committed`."""
    last = "null" if committed is None else f'"{committed}"'
    told = {"sequence": f'[{last},"{lsn}"]', "order": order}
    return position_of(Decoded("c", (), None, lsn, 0, None, None, **told))


def test_insert_that_waited_for_its_key_stays(written) -> None:
    """An INSERT is in the log before it waits for the transaction that holds its key."""
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "first", NOW, position=at(100, 90, 1)))
    made.write(made.gone(1, position=at(200, 90, 2)))
    assert made.write(made.row(1, "waited", NOW, position=at(150, 260, 1))) == 1
    assert made.rows("v") == [("waited",)]


def test_position_is_never_before_the_change() -> None:
    """A batch run has not seen what is in the log after the position that it read at."""
    assert at(100, 90, 1) == at(100, None, 1) == (100, 1)
    assert at(100, 260, 1) == (260, 1)


def test_position_without_a_number_is_the_lsn() -> None:
    """Without it two changes of a transaction could not be told apart."""
    assert at(100, 260, 0) == (100, 0)


# -- without a position ------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", [newest_wins("at"), merge_changed("at")], ids=["new", "merge"])
class TestVersioned:
    """An API callback after a deletion: its version decides."""

    def deleted(self, written, conflict: Any) -> Any:
        made = written(DDL, *COLUMNS, conflict=conflict)
        made.write(made.row(1, "was", NOW, position=5))
        made.write(made.gone(1, position=7))
        return made

    def test_newer_than_tombstone_is_applied(self, written, conflict: Any) -> None:
        made = self.deleted(written, conflict)
        assert made.write(made.row(1, "back", LATER, position=None)) == 1
        assert made.writer.state.outcomes["stale"] == 0

    @pytest.mark.parametrize("at", [NOW, EARLIER])
    def test_older_than_tombstone_is_stale(self, written, conflict: Any, at: Any) -> None:
        made = self.deleted(written, conflict)
        assert made.write(made.row(1, "back", at, position=None)) == 0
        assert made.writer.state.outcomes["stale"] == 1
        assert made.rows() == []

    def test_tombstone_keeps_the_latest_version(self, written, conflict: Any) -> None:
        made = self.deleted(written, conflict)
        made.write(made.row(1, "back", LATER, position=None), made.gone(1, position=9))
        assert made.write(made.row(1, "back", LATER, position=None)) == 0
        assert made.write(made.row(1, "b", LATER + timedelta(minutes=1), position=None)) == 1


def test_unversioned_read_repairs_by_arrival(written) -> None:
    """A row of an incremental snapshot, after the target has lost it or holds another value."""
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "a", NOW, position=5), made.row(2, "a", NOW, position=6))
    made.scratch.admin.execute(f"DELETE FROM {made.table.sql_name} WHERE id = 1".encode())
    made.scratch.admin.execute(f"UPDATE {made.table.sql_name} SET v = 'x'".encode())
    reads = [made.row(key, "a", NOW, position=None) for key in (1, 2)]
    assert made.write(*reads) == 2
    assert made.rows("id, v") == [(1, "a"), (2, "a")]


def test_events_after_a_read_are_not_stale(written) -> None:
    """The partition is behind a batch run: what follows the read in it is later than the read."""
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "batch", NOW, position=60))
    made.write(made.row(1, "read", NOW, position=None))
    made.write(made.row(1, "then", NOW, position=50))
    assert made.rows("v") == [("then",)]


def test_read_after_tombstone_is_applied(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "a", NOW, position=5), made.gone(1, position=7))
    assert made.write(made.row(1, "a", NOW, position=None)) == 1


def test_delete_without_position_is_applied(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "a", NOW, position=5))
    assert made.write(made.gone(1, position=None)) == 1
    assert made.write(made.row(1, "a", NOW, position=5)) == 0, "a replay"


def test_candidate_without_position_is_kept(written) -> None:
    made = written(DDL, *COLUMNS, conflict=newest_wins("at"), derived=derived())
    made.write(made.row(1, "log", NOW, position=5))
    assert made.write(made.row(1, "callback", NOW, position=None)) == 1
    assert made.write(made.row(1, "log", LATER, position=7)) == 1
    assert made.rows("v") == [("log",)]


# -- stale events are counted ------------------------------------------------------------------


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins()], ids=["new", "source"])
def test_row_older_than_tombstone_counts_as_stale(written, conflict: Any) -> None:
    made = written(DDL, *COLUMNS, conflict=conflict)
    made.write(made.row(1, "was", NOW, position=5), made.gone(1, position=7))
    made.write(made.row(1, "was", LATER, position=6), made.row(2, "new", NOW, position=8))
    assert made.writer.state.outcomes["stale"] == 1
    made.write(made.row(3, "new", NOW, position=9))
    assert made.writer.state.outcomes["stale"] == 0


def test_older_row_counts_as_stale(written) -> None:
    made = written(DDL, Column("id"), Column("v"), Column("at", Constant(None)))
    made.write(made.row(1, "new", None, position=9))
    made.write(made.row(1, "old", None, position=5))
    assert made.writer.state.outcomes["stale"] == 1
