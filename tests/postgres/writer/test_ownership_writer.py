"""The writer for keys that pass between source rows: what it remembers, counts and leaves alone."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.plugin import (
    Column,
    Derived,
    Review,
    SetColumns,
    insert_once,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW
from sink_runner.transform.key_identity import KeyIdentity

pytestmark = pytest.mark.postgres

DDL = "code text PRIMARY KEY, id int, v text, at timestamp"
COLUMNS = tuple(Column(name) for name in ("code", "id", "v", "at"))
LATER = NOW + timedelta(minutes=1)


def table(written: Any, conflict: Any, identity: KeyIdentity = KeyIdentity.PASSED_ON) -> Any:
    return written(DDL, *COLUMNS, key=("code",), conflict=conflict, identity=identity)


def row(made: Any, id_: int, v: str, position: Any, at: Any = NOW) -> Any:
    return made.row("c", id_, v, at, position=position, owner=str(id_))


def gone(made: Any, id_: int, position: Any, **more: Any) -> Any:
    return made.gone("c", position=position, owner=str(id_), **more)


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins(), insert_once()])
def test_late_delete_leaves_the_new_row(written, conflict: Any) -> None:
    made = table(written, conflict)
    made.write(row(made, 1, "old", 10))
    made.write(row(made, 2, "new", 20))
    assert made.write(gone(made, 1, 15)) == 0
    assert made.writer.state.outcomes["stale"] == 1
    assert made.rows("id, v") == [(2, "new")]


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins()])
def test_late_row_of_the_old_owner_is_stale(written, conflict: Any) -> None:
    """Its version may be as new as it likes: the key belongs to another row by now."""
    made = table(written, conflict)
    made.write(row(made, 2, "new", 20))
    assert made.write(row(made, 1, "old", 10, at=LATER)) == 0
    assert made.writer.state.outcomes["stale"] == 1


def test_late_mark_leaves_the_new_row(written) -> None:
    made = table(written, source_wins())
    made.write(row(made, 1, "old", 10))
    made.write(row(made, 2, "new", 20))
    assert made.write(gone(made, 1, 15, action=SetColumns({"v": "gone"}))) == 0
    assert made.rows("v") == [("new",)]


@pytest.mark.parametrize("identity", KeyIdentity)
def test_late_review_is_recorded_all_the_same(written, identity: KeyIdentity) -> None:
    """The source row is gone, whichever row has the key since."""
    more = {"source": "smart_citizen.public.t", "target": "smart_warehouse.public.t"}
    made = written(DDL, *COLUMNS, key=("code",), identity=identity, **more)
    made.write(row(made, 2, "new", 20))
    review = gone(made, 1, 15, action=Review("deletion_conflict"))
    assert made.write(review._replace(subject=identity.name)) == 1
    assert made.writer.state.outcomes["stale"] == 0
    assert made.rows("v") == [("new",)]


def test_batch_row_of_a_former_owner_is_stale(written) -> None:
    """The run had read the key before it was given up, taken and given up again."""
    made = table(written, source_wins())
    made.write(row(made, 1, "a", 10), gone(made, 1, 20), row(made, 2, "b", 30))
    made.write(gone(made, 2, 40))
    assert made.write(row(made, 1, "a", 15)) == 0
    assert made.rows() == []


def test_removal_by_a_batch_run_needs_no_owner(written) -> None:
    made = table(written, newest_wins("at"))
    made.write(row(made, 1, "a", 10))
    assert made.write(made.gone("c", position=20)) == 1
    assert made.write(row(made, 1, "a", 15)) == 0
    assert made.write(row(made, 1, "a", 25)) == 1


def test_removal_by_an_older_batch_run_is_stale(written) -> None:
    made = table(written, newest_wins("at"))
    made.write(row(made, 1, "a", 30))
    assert made.write(made.gone("c", position=20)) == 0


def test_row_of_former_owner_from_snapshot_is_stale(written) -> None:
    made = table(written, source_wins())
    made.write(row(made, 2, "new", 20))
    assert made.write(row(made, 1, "old", None)) == 0
    assert made.write(row(made, 2, "repaired", None)) == 1


def test_read_of_the_owner_keeps_its_position(written) -> None:
    """Else an older row of another owner could take the key."""
    made = table(written, newest_wins("at"))
    made.write(row(made, 2, "new", 20))
    made.write(row(made, 2, "read", None))
    assert made.write(row(made, 1, "old", 10, at=LATER)) == 0
    assert made.rows("v") == [("read",)]


def test_read_in_batch_of_its_change_keeps_position(written) -> None:
    made = table(written, newest_wins("at"))
    made.write(row(made, 2, "new", 20), row(made, 2, "read", None))
    assert made.write(row(made, 1, "old", 10, at=LATER)) == 0


def test_change_after_a_read_is_not_stale(written) -> None:
    """The partition is behind a batch run, and has a read and then a change of the row."""
    made = table(written, source_wins())
    made.write(row(made, 1, "batch", 60))
    made.write(row(made, 1, "read", None))
    made.write(row(made, 1, "then", 50))
    assert made.rows("v") == [("then",)]


def test_newer_version_wins_among_rows_that_share_key(written) -> None:
    made = table(written, newest_wins("at"), KeyIdentity.SHARED)
    made.write(row(made, 1, "newest", 10, at=LATER))
    assert made.write(row(made, 2, "older", 20, at=NOW)) == 0
    assert made.write(gone(made, 2, 30)) == 0, "the row of the other one stays"
    assert made.write(gone(made, 1, 40)) == 1


def test_of_equal_versions_the_later_position_stays(written) -> None:
    made = table(written, newest_wins("at"), KeyIdentity.SHARED)
    made.write(row(made, 2, "later", 20))
    made.write(row(made, 1, "earlier", 10))
    assert made.rows("v") == [("later",)]


def test_rows_without_an_owner_follow_positions(written) -> None:
    """A table without a primary key: Kafka's records have no key."""
    made = table(written, source_wins(), KeyIdentity.SHARED)
    made.write(made.row("c", 1, "new", NOW, position=20))
    made.write(made.row("c", 1, "old", NOW, position=10), made.gone("c", position=15))
    assert made.rows("v") == [("new",)]
    made.write(made.gone("c", position=30))
    assert made.write(made.row("c", 1, "old", NOW, position=25)) == 0


def test_insert_only_columns_do_not_outlive_their_row(written) -> None:
    columns = (Column("code"), Column("id"), Column("v", insert_only=True), Column("at"))
    made = written(DDL, *columns, key=("code",), identity=KeyIdentity.PASSED_ON)
    made.write(row(made, 1, "first", 10))
    made.write(row(made, 1, "again", 11))
    assert made.rows("v") == [("first",)]
    made.write(row(made, 2, "other", 20))
    assert made.rows("v") == [("other",)]


def test_candidates_with_a_natural_key_follow_the_log(written) -> None:
    columns = tuple(
        Column(name, type=type_)
        for name, type_ in (("code", "text"), ("id", "int"), ("v", "text"), ("at", "timestamp"))
    )
    select = "SELECT code, id, v, at FROM {candidates} c"
    made = written(
        DDL,
        *columns,
        key=("code",),
        conflict=newest_wins("at"),
        derived=Derived(key=("code",), group=("code",), select=select),
        identity=KeyIdentity.PASSED_ON,
    )
    made.write(row(made, 1, "old", 10, at=LATER))
    made.write(row(made, 2, "new", 20))
    made.write(gone(made, 1, 15))
    assert made.rows("id, v") == [(2, "new")]


def test_no_clear_key_is_remembered(written) -> None:
    made = table(written, source_wins())
    made.write(row(made, 4711, "a", 10), gone(made, 4711, 20), row(made, 4712, "b", 30))
    query = "SELECT key || coalesce(owner, '') FROM sink.row_version WHERE mapping = %s"
    found = made.connection.execute(query, (made.name,)).fetchall()
    assert len(found) == 2
    assert not any("471" in text and len(text) < 64 for (text,) in found)
    assert all(len(text) in (64, 128) for (text,) in found)
