"""A batch of changes is written to a real table by each strategy."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from sink_runner.errors import WriteError
from sink_runner.model.changes import READ
from sink_runner.plugin import (
    ABSENT,
    Column,
    Ignore,
    Review,
    SetColumns,
    SyncTime,
    insert_once,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW
from sink_runner.writer.encryption import Encryptor

pytestmark = pytest.mark.postgres

Make = Callable[..., Any]
DDL = "id int PRIMARY KEY, a text, b text, at timestamp"
DAY = [datetime(2026, 1, day) for day in range(1, 9)]  # noqa: DTZ001 - as the column stores it


def row_writers(target: Any) -> list[tuple[str, str]]:
    """Return the transaction that last wrote each row, even if it wrote the same values."""
    return target.rows("id::text, xmin::text")


class TestNewestWins:
    @pytest.fixture
    def target(self, written: Make) -> Any:
        return written(DDL, conflict=newest_wins("at"))

    @pytest.mark.parametrize(
        ("first", "second", "winner"),
        [
            (DAY[1], DAY[2], "second"),
            (DAY[2], DAY[1], "first"),
            (DAY[1], DAY[1], "second"),
            (None, DAY[1], "second"),
            (DAY[1], None, "first"),
            (None, None, "second"),
        ],
        ids=str,
    )
    def test_newer_version_or_later_equal_one_wins(
        self, target: Any, first: datetime | None, second: datetime | None, winner: str
    ) -> None:
        rows = [target.row(1, "first", None, first), target.row(1, "second", None, second)]
        for row in rows:
            target.write(row)
        separately = target.rows()
        target.write(target.gone(1))
        target.writer.state.has_tombstones = False
        target.write(*rows)
        assert [row[1] for row in separately] == [winner]
        assert target.rows() == separately

    def test_unchanged_row_is_not_written(self, target: Any) -> None:
        assert target.write(target.row(1, "a", None, DAY[1])) == 1
        before = row_writers(target)
        assert target.write(target.row(1, "a", None, DAY[1])) == 0
        assert row_writers(target) == before

    def test_newer_version_is_written(self, target: Any) -> None:
        target.write(target.row(1, "a", None, DAY[1]))
        assert target.write(target.row(1, "a", None, DAY[2])) == 1


class TestOtherStrategies:
    def test_source_wins_ignores_versions(self, written: Make) -> None:
        target = written(DDL, conflict=source_wins())
        target.write(target.row(1, "new", None, DAY[2]))
        target.write(target.row(1, "old", None, DAY[1]))
        assert target.rows("id, a") == [(1, "old")]

    @pytest.mark.parametrize("together", [True, False])
    def test_insert_once_keeps_first_row(self, written: Make, *, together: bool) -> None:
        target = written(DDL, conflict=insert_once())
        rows = [target.row(1, "first", None, DAY[1]), target.row(1, "second", None, DAY[2])]
        for batch in [rows] if together else [[row] for row in rows]:
            target.write(*batch)
        assert target.rows("id, a") == [(1, "first")]

    def test_insert_once_ignores_partial_row(self, written: Make) -> None:
        target = written(DDL, conflict=insert_once())
        target.write(target.row(1, "first", None, DAY[1]))
        target.write(target.row(1, "second", ABSENT, DAY[2], keep=1 << 2))
        assert target.rows("id, a") == [(1, "first")]

    @pytest.mark.parametrize("together", [True, False])
    def test_insert_only_column_keeps_first_value(self, written: Make, *, together: bool) -> None:
        columns = [Column("id"), Column("a", insert_only=True), Column("b")]
        target = written(DDL, *columns)
        rows = [target.row(1, "first", "one"), target.row(1, "second", "two")]
        for batch in [rows] if together else [[row] for row in rows]:
            target.write(*batch)
        assert target.rows("id, a, b") == [(1, "first", "two")]


class TestMergeChanged:
    @pytest.fixture
    def target(self, written: Make) -> Any:
        return written(DDL, conflict=merge_changed("at"), needs_before_image=True)

    def test_kept_columns_are_not_written(self, target: Any) -> None:
        target.write(target.row(1, "theirs", "theirs", DAY[1]))
        target.write(target.row(1, "mine", "mine", DAY[2], keep=1 << 1))
        assert target.rows("id, a, b") == [(1, "theirs", "mine")]

    @pytest.mark.parametrize("together", [True, False])
    def test_null_never_overwrites_value(self, target: Any, *, together: bool) -> None:
        rows = [target.row(1, "a", None, DAY[1]), target.row(1, None, "b", DAY[2])]
        for batch in [rows] if together else [[row] for row in rows]:
            target.write(*batch)
        assert target.rows("id, a, b") == [(1, "a", "b")]

    def test_change_without_value_keeps_version(self, target: Any) -> None:
        target.write(target.row(1, "a", "b", DAY[1]))
        assert target.write(target.row(1, "other", None, DAY[3], keep=1 << 1)) == 0
        assert target.write(target.row(1, "c", None, DAY[2])) == 1
        assert target.rows("id, a, b") == [(1, "c", "b")]

    @pytest.mark.parametrize("version", [DAY[1], None])
    def test_older_and_unversioned_rows_change_nothing(
        self, target: Any, version: datetime | None
    ) -> None:
        target.write(target.row(1, "new", None, DAY[2]))
        assert target.write(target.row(1, "old", "old", version)) == 0
        assert target.rows("id, a, b") == [(1, "new", None)]

    def test_target_without_version_is_oldest(self, target: Any) -> None:
        target.write(target.row(1, "old", None, None))
        assert target.write(target.row(1, "new", None, DAY[1])) == 1

    def test_unchanged_row_is_not_written(self, target: Any) -> None:
        target.write(target.row(1, "a", "b", DAY[1]))
        before = row_writers(target)
        assert target.write(target.row(1, "x", None, DAY[1], keep=1 << 1)) == 0
        assert row_writers(target) == before


class TestPartialRows:
    def test_absent_value_is_kept(self, written: Make) -> None:
        target = written("id int PRIMARY KEY, a text NOT NULL, b text", conflict=source_wins())
        target.write(target.row(1, "large", "old"))
        assert target.write(target.row(1, ABSENT, "new", keep=1 << 1)) == 1
        assert target.rows() == [(1, "large", "new")]

    def test_missing_row_cannot_be_created_partially(self, written: Make) -> None:
        target = written(DDL)
        with pytest.raises(WriteError, match="REPLICA IDENTITY FULL"):
            target.write(target.row(1, ABSENT, "new", DAY[1], keep=1 << 1))
        assert target.rows() == []

    def test_partial_row_of_deleted_row_is_ignored(self, written: Make) -> None:
        target = written("id int PRIMARY KEY, a text, b text", conflict=insert_once())
        target.write(target.row(1, "x", "y", position=5), target.gone(1, position=9))
        assert target.write(target.row(1, ABSENT, "new", keep=1 << 1, position=7)) == 0

    def test_partial_row_completes_row_of_batch(self, written: Make) -> None:
        target = written(DDL)
        target.write(
            target.row(1, "large", "old", DAY[1]),
            target.row(1, ABSENT, "new", DAY[2], keep=1 << 1),
        )
        assert target.rows("id, a, b") == [(1, "large", "new")]


class TestRemovals:
    def test_older_event_never_restores_deleted_row(self, written: Make) -> None:
        target = written(DDL)
        target.write(target.row(1, "a", None, None, position=5))
        assert target.write(target.gone(1, position=7)) == 1
        target.write(target.row(1, "replayed", None, None, position=5))
        assert target.rows() == []

    def test_newer_event_restores_row(self, written: Make) -> None:
        target = written(DDL)
        target.write(target.gone(1, position=7))
        target.write(target.row(1, "again", None, None, position=8))
        assert target.rows("id, a") == [(1, "again")]

    def test_tombstone_has_latest_deletion(self, written: Make) -> None:
        target = written(DDL)
        target.write(target.gone(1, position=9))
        target.write(target.gone(1, position=3))
        target.write(target.row(1, "a", None, None, position=8))
        assert target.rows() == []

    def test_last_change_of_batch_wins(self, written: Make) -> None:
        target = written(DDL)
        changes = [
            target.row(1, "a", None, None, position=1),
            target.gone(1, position=2),
            target.row(1, "b", None, None, position=3),
            target.row(2, "a", None, None, position=4),
            target.gone(2, position=5),
        ]
        target.write(*changes)
        assert target.rows("id, a") == [(1, "b")]

    def test_mark_updates_and_never_inserts(self, written: Make) -> None:
        target = written(DDL)
        target.write(target.row(1, "a", None, None), target.row(2, "a", None, None))
        mark = SetColumns({"b": "gone", "at": DAY[1]})
        assert target.write(target.gone(1, action=mark), target.gone(3, action=mark)) == 1
        assert target.write(target.gone(1, action=mark)) == 0  # already marked
        assert target.rows() == [(1, "a", "gone", DAY[1]), (2, "a", None, None)]

    def test_review_is_recorded_and_row_kept(self, written: Make) -> None:
        tables = {"source": "smart_citizen.public.t", "target": "north.public.reviewed"}
        target = written(DDL, **tables, needs_before_image=True)
        target.write(target.row(1, "a", None, None))
        target.write(target.gone(1, action=Review()))
        recorded = target.scratch.admin.execute(
            "SELECT record_id, source_database, conflict_type FROM sink.conflict "
            "WHERE table_name = 'reviewed'"
        ).fetchall()
        assert recorded == [("subject", "smart_citizen", "deletion_conflict")]
        assert target.rows("id") == [(1,)]

    def test_review_stores_personal_key_hashed(self, written: Make) -> None:
        tables = {"source": "smart_citizen.public.t", "target": "north.public.hashed"}
        target = written(DDL, **tables, needs_before_image=True)
        session = target.scratch.session()
        writer = target.another(session, source_key_unmasked=False)
        with session.transaction():
            writer.write(session, [target.gone(1, action=Review())], NOW)
        query = "SELECT record_id FROM sink.conflict WHERE table_name = 'hashed'"
        ((record,),) = target.scratch.admin.execute(query).fetchall()
        assert record == Encryptor(bytes(32), "test").fingerprint(b"subject").hex()

    def test_ignore_keeps_row(self, written: Make) -> None:
        target = written(DDL)
        target.write(target.row(1, "a", None, None))
        assert target.write(target.gone(1, action=Ignore())) == 0
        assert target.rows("id") == [(1,)]


def test_time_of_write_alone_writes_nothing(written: Make) -> None:
    target = written(DDL, Column("id"), Column("a"), Column("at", SyncTime()))
    target.write(target.row(1, "a"))
    ((_, first),) = target.rows("id, at")
    assert abs(
        first - target.scratch.admin.execute("SELECT now() AT TIME ZONE 'UTC'").fetchone()[0]
    )
    assert target.write(target.row(1, "a")) == 0
    assert target.rows("id, at") == [(1, first)]
    target.write(target.row(1, "b"))
    ((_, second),) = target.rows("id, at")
    assert timedelta(0) < second - first < timedelta(minutes=1)


def test_too_long_text_is_refused(written: Make) -> None:
    target = written("id int PRIMARY KEY, a varchar(3), b char(3)")
    for values in (("four", "b"), ("a", "four")):
        with pytest.raises(errors.StringDataRightTruncation):
            target.write(target.row(1, *values))
    assert target.rows() == []


def test_writers_of_equal_keys_wait(written: Make) -> None:
    target = written(DDL)
    other = target.scratch.session()
    other.execute("SET lock_timeout = '100ms'")
    second = target.another(other)
    rows = [target.row(i, "a", None, None) for i in range(20)]
    with target.connection.transaction():
        target.writer.write(target.connection, rows, DAY[0])
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            second.write(other, list(reversed(rows)), DAY[0])
    with other.transaction():
        assert second.write(other, list(reversed(rows)), DAY[0]) == 0


@pytest.mark.parametrize("kind", ["ALWAYS", "BY DEFAULT"])
@pytest.mark.parametrize("conflict", [source_wins(), insert_once(), newest_wins("at")], ids=str)
def test_identity_column_takes_the_sources_value(written: Make, kind: str, conflict: Any) -> None:
    """GENERATED ALWAYS AS IDENTITY accepts a value only with OVERRIDING SYSTEM VALUE."""
    ddl = f"id int GENERATED {kind} AS IDENTITY PRIMARY KEY, a text, at timestamp"
    target = written(ddl, conflict=conflict)
    target.write(target.row(41, "a", DAY[1]))
    target.write(target.row(41, "b", DAY[2]))
    expected = "a" if conflict == insert_once() else "b"
    assert target.rows("id, a") == [(41, expected)]


@pytest.mark.parametrize("columns", [62, 63, 64, 130, 400])
@pytest.mark.parametrize("read", [False, True], ids=["changed", "read"])
def test_wide_table_keeps_unchanged_columns(written: Make, columns: int, read: object) -> None:
    """One bigint has bits for 63 columns; further columns need further bigints."""
    names = [f"c{n}" for n in range(columns)]
    ddl = ", ".join(["id int PRIMARY KEY", "at timestamp", *(f"{name} int" for name in names)])
    target = written(ddl, conflict=merge_changed("at"), needs_before_image=True)
    target.write(target.row(1, DAY[1], *range(columns)))
    kept = [n for n in range(columns) if n % 3 == 0]
    keep = sum(1 << n + 2 for n in kept) + (READ if read else 0)
    assert target.write(target.row(1, DAY[2], *(-1 - n for n in range(columns)), keep=keep)) == 1
    ((_, _, *found),) = target.rows()
    assert found == [n if n % 3 == 0 else -1 - n for n in range(columns)]
    again = target.row(1, DAY[2], *range(columns), keep=READ)
    assert target.write(again) == 0


def test_wide_partial_row_is_written(written: Make) -> None:
    names = [f"c{n} int" for n in range(100)]
    target = written(", ".join(["id int PRIMARY KEY", *names]))
    target.write(target.row(1, *range(100)))
    keep = 1 << 100
    target.write(target.row(1, *(7 for _ in range(99)), ABSENT, keep=keep))
    assert target.rows() == [(1, *(7 for _ in range(99)), 99)]
