"""The writer for target keys that move between source rows: owners, tombstones, stale rows."""

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


def row(target: Any, id_: int, v: str, position: Any, at: Any = NOW) -> Any:
    return target.row("c", id_, v, at, position=position, owner=str(id_))


def gone(target: Any, id_: int, position: Any, **more: Any) -> Any:
    return target.gone("c", position=position, owner=str(id_), **more)


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins(), insert_once()])
def test_late_delete_keeps_new_row(written, conflict: Any) -> None:
    target = table(written, conflict)
    target.write(row(target, 1, "old", 10))
    target.write(row(target, 2, "new", 20))
    assert target.write(gone(target, 1, 15)) == 0
    assert target.writer.state.outcomes["stale"] == 1
    assert target.rows("id, v") == [(2, "new")]


@pytest.mark.parametrize("conflict", [newest_wins("at"), source_wins()])
def test_late_row_of_old_owner_is_stale(written, conflict: Any) -> None:
    """Even a newer version is stale once the key belongs to another row."""
    target = table(written, conflict)
    target.write(row(target, 2, "new", 20))
    assert target.write(row(target, 1, "old", 10, at=LATER)) == 0
    assert target.writer.state.outcomes["stale"] == 1


def test_late_mark_keeps_new_row(written) -> None:
    target = table(written, source_wins())
    target.write(row(target, 1, "old", 10))
    target.write(row(target, 2, "new", 20))
    assert target.write(gone(target, 1, 15, action=SetColumns({"v": "gone"}))) == 0
    assert target.rows("v") == [("new",)]


@pytest.mark.parametrize("identity", KeyIdentity)
def test_late_review_is_recorded(written, identity: KeyIdentity) -> None:
    """The source row was deleted, although another row has its key now."""
    more = {"source": "smart_citizen.public.t", "target": "smart_warehouse.public.t"}
    target = written(DDL, *COLUMNS, key=("code",), identity=identity, **more)
    target.write(row(target, 2, "new", 20))
    review = gone(target, 1, 15, action=Review("deletion_conflict"))
    assert target.write(review._replace(subject=identity.name)) == 1
    assert target.writer.state.outcomes["stale"] == 0
    assert target.rows("v") == [("new",)]


def test_batch_row_of_a_former_owner_is_stale(written) -> None:
    """The run read the row before its key moved to another row, which was deleted."""
    target = table(written, source_wins())
    target.write(row(target, 1, "a", 10), gone(target, 1, 20), row(target, 2, "b", 30))
    target.write(gone(target, 2, 40))
    assert target.write(row(target, 1, "a", 15)) == 0
    assert target.rows() == []


def test_removal_by_a_batch_run_needs_no_owner(written) -> None:
    target = table(written, newest_wins("at"))
    target.write(row(target, 1, "a", 10))
    assert target.write(target.gone("c", position=20)) == 1
    assert target.write(row(target, 1, "a", 15)) == 0
    assert target.write(row(target, 1, "a", 25)) == 1


def test_removal_by_an_older_batch_run_is_stale(written) -> None:
    target = table(written, newest_wins("at"))
    target.write(row(target, 1, "a", 30))
    assert target.write(target.gone("c", position=20)) == 0


def test_row_of_former_owner_from_snapshot_is_stale(written) -> None:
    target = table(written, source_wins())
    target.write(row(target, 2, "new", 20))
    assert target.write(row(target, 1, "old", None)) == 0
    assert target.write(row(target, 2, "repaired", None)) == 1


def test_read_of_owner_keeps_position(written) -> None:
    """Otherwise an older row of another owner could take the key."""
    target = table(written, newest_wins("at"))
    target.write(row(target, 2, "new", 20))
    target.write(row(target, 2, "read", None))
    assert target.write(row(target, 1, "old", 10, at=LATER)) == 0
    assert target.rows("v") == [("read",)]


def test_read_in_batch_of_its_change_keeps_position(written) -> None:
    target = table(written, newest_wins("at"))
    target.write(row(target, 2, "new", 20), row(target, 2, "read", None))
    assert target.write(row(target, 1, "old", 10, at=LATER)) == 0


def test_change_after_a_read_is_not_stale(written) -> None:
    """The partition lags behind a batch run, and has a read and then a change of the row."""
    target = table(written, source_wins())
    target.write(row(target, 1, "batch", 60))
    target.write(row(target, 1, "read", None))
    target.write(row(target, 1, "then", 50))
    assert target.rows("v") == [("then",)]


def test_newer_version_wins_among_rows_that_share_key(written) -> None:
    target = table(written, newest_wins("at"), KeyIdentity.SHARED)
    target.write(row(target, 1, "newest", 10, at=LATER))
    assert target.write(row(target, 2, "older", 20, at=NOW)) == 0
    assert target.write(gone(target, 2, 30)) == 0, "the row of the other owner must stay"
    assert target.write(gone(target, 1, 40)) == 1


def test_later_position_wins_at_equal_versions(written) -> None:
    target = table(written, newest_wins("at"), KeyIdentity.SHARED)
    target.write(row(target, 2, "later", 20))
    target.write(row(target, 1, "earlier", 10))
    assert target.rows("v") == [("later",)]


def test_rows_without_an_owner_follow_positions(written) -> None:
    """Records of a table without a primary key have no key."""
    target = table(written, source_wins(), KeyIdentity.SHARED)
    target.write(target.row("c", 1, "new", NOW, position=20))
    target.write(target.row("c", 1, "old", NOW, position=10), target.gone("c", position=15))
    assert target.rows("v") == [("new",)]
    target.write(target.gone("c", position=30))
    assert target.write(target.row("c", 1, "old", NOW, position=25)) == 0


def test_insert_only_columns_change_with_owner(written) -> None:
    columns = (Column("code"), Column("id"), Column("v", insert_only=True), Column("at"))
    target = written(DDL, *columns, key=("code",), identity=KeyIdentity.PASSED_ON)
    target.write(row(target, 1, "first", 10))
    target.write(row(target, 1, "again", 11))
    assert target.rows("v") == [("first",)]
    target.write(row(target, 2, "other", 20))
    assert target.rows("v") == [("other",)]


def test_candidates_with_natural_key_follow_positions(written) -> None:
    columns = tuple(
        Column(name, type=type_)
        for name, type_ in (("code", "text"), ("id", "int"), ("v", "text"), ("at", "timestamp"))
    )
    select = "SELECT code, id, v, at FROM {candidates} c"
    target = written(
        DDL,
        *columns,
        key=("code",),
        conflict=newest_wins("at"),
        derived=Derived(key=("code",), group=("code",), select=select),
        identity=KeyIdentity.PASSED_ON,
    )
    target.write(row(target, 1, "old", 10, at=LATER))
    target.write(row(target, 2, "new", 20))
    target.write(gone(target, 1, 15))
    assert target.rows("id, v") == [(2, "new")]


def test_keys_and_owners_are_stored_hashed(written) -> None:
    target = table(written, source_wins())
    target.write(row(target, 4711, "a", 10), gone(target, 4711, 20), row(target, 4712, "b", 30))
    query = "SELECT key || coalesce(owner, '') FROM sink.row_version WHERE mapping = %s"
    found = target.connection.execute(query, (target.name,)).fetchall()
    assert len(found) == 2
    assert not any("471" in text and len(text) < 64 for (text,) in found)
    assert all(len(text) in (64, 128) for (text,) in found)
