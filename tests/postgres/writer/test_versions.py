"""A target without a version: rows of a batch and events, in whichever order they come."""

import itertools

import psycopg
import pytest

from sink_runner.plugin import Column, Constant, SetColumns, insert_once

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, name text, state text NOT NULL"
COLUMNS = (Column("id"), Column("name"), Column("state", Constant("there")))
MARK = SetColumns({"state": "gone"})


def test_older_row_does_not_overwrite_newer_one(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "new", "there", position=9))
    assert made.write(made.row(1, "old", "there", position=5)) == 0
    assert made.rows() == [(1, "new", "there")]


def test_of_two_reads_of_one_place_later_stays(written) -> None:
    """Two runs may stand at the same place of the log, if a transaction outlives both."""
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "one", "there", position=5))
    assert made.write(made.row(1, "two", "there", position=5)) == 1


def test_an_older_row_does_not_undo_a_mark(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "one", "there", position=5))
    made.write(made.gone(1, action=MARK, position=9))
    assert made.write(made.row(1, "one", "there", position=7)) == 0
    assert made.rows() == [(1, "one", "gone")]
    assert made.write(made.row(1, "back", "there", position=11)) == 1


@pytest.mark.parametrize("action", [MARK, None], ids=["mark", "delete"])
def test_older_departure_does_not_touch_newer_row(written, action: SetColumns | None) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "new", "there", position=9))
    assert made.write(made.gone(1, action=action, position=5)) == 0
    assert made.rows() == [(1, "new", "there")]


def test_older_row_does_not_bring_deleted_one_back(written) -> None:
    made = written(DDL, *COLUMNS)
    made.write(made.row(1, "one", "there", position=5), made.gone(1, position=9))
    assert made.write(made.row(1, "one", "there", position=9)) == 0
    assert made.rows() == []
    assert made.write(made.row(1, "new", "there", position=10)) == 1


def test_every_order_ends_alike(written) -> None:
    """A write, a mark, a write and a read that saw the last of them, in any order."""
    made = written(DDL, *COLUMNS)
    changes = [
        made.row(1, "one", "there", position=1),
        made.gone(1, action=MARK, position=2),
        made.row(1, "two", "there", position=3),
        made.row(1, "two", "there", position=4),
    ]
    for order in itertools.permutations(changes):
        made.scratch.admin.execute(f"TRUNCATE {made.table.sql_name}, sink.row_version".encode())
        for change in order:
            made.write(change)
        assert made.rows() == [(1, "two", "there")]


def test_what_needs_no_positions_keeps_none(written) -> None:
    made = written(DDL, *COLUMNS, conflict=insert_once())
    made.write(made.row(1, "one", "there"))
    assert positions(made.connection, made.name) == 0


def test_a_mapping_without_events_keeps_none(written) -> None:
    made = written(DDL, *COLUMNS, streaming=False)
    made.write(made.row(1, "one", "there"))
    assert positions(made.connection, made.name) == 0


def positions(connection: psycopg.Connection, mapping: str) -> int:
    query = "SELECT count(*) FROM sink.row_version WHERE mapping = %s"
    (count,) = connection.execute(query, (mapping,)).fetchone()
    return count
