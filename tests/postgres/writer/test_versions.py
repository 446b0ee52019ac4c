"""A target without a version column: rows of batches and events in any order."""

import itertools

import psycopg
import pytest

from sink_runner.plugin import Column, Constant, SetColumns, insert_once

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, name text, state text NOT NULL"
COLUMNS = (Column("id"), Column("name"), Column("state", Constant("there")))
MARK = SetColumns({"state": "gone"})


def test_older_row_does_not_overwrite_newer_one(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "new", "there", position=9))
    assert target.write(target.row(1, "old", "there", position=5)) == 0
    assert target.rows() == [(1, "new", "there")]


def test_later_read_wins_at_same_position(written) -> None:
    """Two runs have the same position if a transaction was open during both."""
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "one", "there", position=5))
    assert target.write(target.row(1, "two", "there", position=5)) == 1


def test_older_row_does_not_undo_mark(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "one", "there", position=5))
    target.write(target.gone(1, action=MARK, position=9))
    assert target.write(target.row(1, "one", "there", position=7)) == 0
    assert target.rows() == [(1, "one", "gone")]
    assert target.write(target.row(1, "back", "there", position=11)) == 1


@pytest.mark.parametrize("action", [MARK, None], ids=["mark", "delete"])
def test_older_removal_keeps_newer_row(written, action: SetColumns | None) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "new", "there", position=9))
    assert target.write(target.gone(1, action=action, position=5)) == 0
    assert target.rows() == [(1, "new", "there")]


def test_older_row_does_not_restore_deleted_one(written) -> None:
    target = written(DDL, *COLUMNS)
    target.write(target.row(1, "one", "there", position=5), target.gone(1, position=9))
    assert target.write(target.row(1, "one", "there", position=9)) == 0
    assert target.rows() == []
    assert target.write(target.row(1, "new", "there", position=10)) == 1


def test_every_order_converges(written) -> None:
    """A write, a mark, a write and a read of the last write, in every order."""
    target = written(DDL, *COLUMNS)
    changes = [
        target.row(1, "one", "there", position=1),
        target.gone(1, action=MARK, position=2),
        target.row(1, "two", "there", position=3),
        target.row(1, "two", "there", position=4),
    ]
    for order in itertools.permutations(changes):
        target.scratch.admin.execute(f"TRUNCATE {target.table.sql_name}, sink.row_version".encode())
        for change in order:
            target.write(change)
        assert target.rows() == [(1, "two", "there")]


def test_insert_once_stores_no_positions(written) -> None:
    target = written(DDL, *COLUMNS, conflict=insert_once())
    target.write(target.row(1, "one", "there"))
    assert positions(target.connection, target.name) == 0


def test_mapping_without_streaming_stores_no_positions(written) -> None:
    target = written(DDL, *COLUMNS, streaming=False)
    target.write(target.row(1, "one", "there"))
    assert positions(target.connection, target.name) == 0


def positions(connection: psycopg.Connection, mapping: str) -> int:
    query = "SELECT count(*) FROM sink.row_version WHERE mapping = %s"
    (count,) = connection.execute(query, (mapping,)).fetchone()
    return count
