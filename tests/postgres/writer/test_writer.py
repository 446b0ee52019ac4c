"""How a batch of changes becomes rows of a real table."""

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
DAY = [datetime(2026, 1, day) for day in range(1, 9)]  # noqa: DTZ001 - as the column holds it


def written_by(made: Any) -> list[tuple[str, str]]:
    """Which transaction wrote each row: it changes with any write, even of the same values."""
    return made.rows("id::text, xmin::text")


class TestNewestWins:
    @pytest.fixture
    def made(self, written: Make) -> Any:
        return written(DDL, conflict=newest_wins("at"))

    @pytest.mark.parametrize(
        ("first", "second", "stays"),
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
    def test_newer_stays_and_of_two_equal_ones_later(
        self, made: Any, first: datetime | None, second: datetime | None, stays: str
    ) -> None:
        rows = [made.row(1, "first", None, first), made.row(1, "second", None, second)]
        for row in rows:
            made.write(row)
        one_by_one = made.rows()
        made.write(made.gone(1))
        made.writer.state.has_tombstones = False
        made.write(*rows)
        assert [row[1] for row in one_by_one] == [stays]
        assert made.rows() == one_by_one

    def test_what_changes_nothing_writes_nothing(self, made: Any) -> None:
        assert made.write(made.row(1, "a", None, DAY[1])) == 1
        before = written_by(made)
        assert made.write(made.row(1, "a", None, DAY[1])) == 0
        assert written_by(made) == before

    def test_a_newer_version_is_a_change(self, made: Any) -> None:
        made.write(made.row(1, "a", None, DAY[1]))
        assert made.write(made.row(1, "a", None, DAY[2])) == 1


class TestOtherStrategies:
    def test_the_source_wins_whatever_the_time(self, written: Make) -> None:
        made = written(DDL, conflict=source_wins())
        made.write(made.row(1, "new", None, DAY[2]))
        made.write(made.row(1, "old", None, DAY[1]))
        assert made.rows("id, a") == [(1, "old")]

    @pytest.mark.parametrize("together", [True, False])
    def test_the_first_row_stays_for_good(self, written: Make, *, together: bool) -> None:
        made = written(DDL, conflict=insert_once())
        rows = [made.row(1, "first", None, DAY[1]), made.row(1, "second", None, DAY[2])]
        for batch in [rows] if together else [[row] for row in rows]:
            made.write(*batch)
        assert made.rows("id, a") == [(1, "first")]

    def test_a_first_row_is_not_patched_either(self, written: Make) -> None:
        made = written(DDL, conflict=insert_once())
        made.write(made.row(1, "first", None, DAY[1]))
        made.write(made.row(1, "second", ABSENT, DAY[2], keep=1 << 2))
        assert made.rows("id, a") == [(1, "first")]

    @pytest.mark.parametrize("together", [True, False])
    def test_on_insert_is_left_alone_afterwards(self, written: Make, *, together: bool) -> None:
        columns = [Column("id"), Column("a", insert_only=True), Column("b")]
        made = written(DDL, *columns)
        rows = [made.row(1, "first", "one"), made.row(1, "second", "two")]
        for batch in [rows] if together else [[row] for row in rows]:
            made.write(*batch)
        assert made.rows("id, a, b") == [(1, "first", "two")]


class TestMergeChanged:
    @pytest.fixture
    def made(self, written: Make) -> Any:
        return written(DDL, conflict=merge_changed("at"), needs_before_image=True)

    def test_kept_columns_stay_as_they_are(self, made: Any) -> None:
        made.write(made.row(1, "theirs", "theirs", DAY[1]))
        made.write(made.row(1, "mine", "mine", DAY[2], keep=1 << 1))
        assert made.rows("id, a, b") == [(1, "theirs", "mine")]

    @pytest.mark.parametrize("together", [True, False])
    def test_null_never_overwrites(self, made: Any, *, together: bool) -> None:
        rows = [made.row(1, "a", None, DAY[1]), made.row(1, None, "b", DAY[2])]
        for batch in [rows] if together else [[row] for row in rows]:
            made.write(*batch)
        assert made.rows("id, a, b") == [(1, "a", "b")]

    def test_change_without_value_keeps_version(self, made: Any) -> None:
        made.write(made.row(1, "a", "b", DAY[1]))
        assert made.write(made.row(1, "other", None, DAY[3], keep=1 << 1)) == 0
        assert made.write(made.row(1, "c", None, DAY[2])) == 1
        assert made.rows("id, a, b") == [(1, "c", "b")]

    @pytest.mark.parametrize("version", [DAY[1], None])
    def test_older_and_timeless_rows_change_nothing(
        self, made: Any, version: datetime | None
    ) -> None:
        made.write(made.row(1, "new", None, DAY[2]))
        assert made.write(made.row(1, "old", "old", version)) == 0
        assert made.rows("id, a, b") == [(1, "new", None)]

    def test_target_without_time_is_older_than_any(self, made: Any) -> None:
        made.write(made.row(1, "old", None, None))
        assert made.write(made.row(1, "new", None, DAY[1])) == 1

    def test_what_changes_nothing_writes_nothing(self, made: Any) -> None:
        made.write(made.row(1, "a", "b", DAY[1]))
        before = written_by(made)
        assert made.write(made.row(1, "x", None, DAY[1], keep=1 << 1)) == 0
        assert written_by(made) == before


class TestPartialRows:
    def test_an_absent_value_stays_as_it_is(self, written: Make) -> None:
        made = written("id int PRIMARY KEY, a text NOT NULL, b text", conflict=source_wins())
        made.write(made.row(1, "large", "old"))
        assert made.write(made.row(1, ABSENT, "new", keep=1 << 1)) == 1
        assert made.rows() == [(1, "large", "new")]

    def test_row_that_is_not_there_cannot_be_made(self, written: Make) -> None:
        made = written(DDL)
        with pytest.raises(WriteError, match="REPLICA IDENTITY FULL"):
            made.write(made.row(1, ABSENT, "new", DAY[1], keep=1 << 1))
        assert made.rows() == []

    def test_row_deleted_since_is_not_missing(self, written: Make) -> None:
        made = written("id int PRIMARY KEY, a text, b text", conflict=insert_once())
        made.write(made.row(1, "x", "y", position=5), made.gone(1, position=9))
        assert made.write(made.row(1, ABSENT, "new", keep=1 << 1, position=7)) == 0

    def test_the_row_may_come_in_the_same_batch(self, written: Make) -> None:
        made = written(DDL)
        made.write(
            made.row(1, "large", "old", DAY[1]),
            made.row(1, ABSENT, "new", DAY[2], keep=1 << 1),
        )
        assert made.rows("id, a, b") == [(1, "large", "new")]


class TestDepartures:
    def test_older_event_never_restores_deleted_row(self, written: Make) -> None:
        made = written(DDL)
        made.write(made.row(1, "a", None, None, position=5))
        assert made.write(made.gone(1, position=7)) == 1
        made.write(made.row(1, "replayed", None, None, position=5))
        assert made.rows() == []

    def test_it_comes_back_by_a_newer_one(self, written: Make) -> None:
        made = written(DDL)
        made.write(made.gone(1, position=7))
        made.write(made.row(1, "again", None, None, position=8))
        assert made.rows("id, a") == [(1, "again")]

    def test_the_latest_of_two_deletions_is_remembered(self, written: Make) -> None:
        made = written(DDL)
        made.write(made.gone(1, position=9))
        made.write(made.gone(1, position=3))
        made.write(made.row(1, "a", None, None, position=8))
        assert made.rows() == []

    def test_a_batch_ends_as_its_last_change_says(self, written: Make) -> None:
        made = written(DDL)
        changes = [
            made.row(1, "a", None, None, position=1),
            made.gone(1, position=2),
            made.row(1, "b", None, None, position=3),
            made.row(2, "a", None, None, position=4),
            made.gone(2, position=5),
        ]
        made.write(*changes)
        assert made.rows("id, a") == [(1, "b")]

    def test_marking_updates_and_inserts_nothing(self, written: Make) -> None:
        made = written(DDL)
        made.write(made.row(1, "a", None, None), made.row(2, "a", None, None))
        mark = SetColumns({"b": "gone", "at": DAY[1]})
        assert made.write(made.gone(1, action=mark), made.gone(3, action=mark)) == 1
        assert made.write(made.gone(1, action=mark)) == 0  # it says so already
        assert made.rows() == [(1, "a", "gone", DAY[1]), (2, "a", None, None)]

    def test_a_review_is_recorded_and_the_row_stays(self, written: Make) -> None:
        source, target = "smart_citizen.public.t", "north.public.reviewed"
        made = written(DDL, source=source, target=target, needs_before_image=True)
        made.write(made.row(1, "a", None, None))
        made.write(made.gone(1, action=Review()))
        recorded = made.scratch.admin.execute(
            "SELECT record_id, source_database, conflict_type FROM sink.conflict "
            "WHERE table_name = 'reviewed'"
        ).fetchall()
        assert recorded == [("subject", "smart_citizen", "deletion_conflict")]
        assert made.rows("id") == [(1,)]

    def test_review_records_a_personal_key_hashed(self, written: Make) -> None:
        source, target = "smart_citizen.public.t", "north.public.hashed"
        made = written(DDL, source=source, target=target, needs_before_image=True)
        session = made.scratch.session()
        writer = made.another(session, source_key_unmasked=False)
        with session.transaction():
            writer.write(session, [made.gone(1, action=Review())], NOW)
        query = "SELECT record_id FROM sink.conflict WHERE table_name = 'hashed'"
        ((record,),) = made.scratch.admin.execute(query).fetchall()
        assert record == Encryptor(bytes(32), "test").fingerprint(b"subject").hex()

    def test_keep_leaves_the_row(self, written: Make) -> None:
        made = written(DDL)
        made.write(made.row(1, "a", None, None))
        assert made.write(made.gone(1, action=Ignore())) == 0
        assert made.rows("id") == [(1,)]


def test_time_of_write_alone_is_no_change(written: Make) -> None:
    made = written(DDL, Column("id"), Column("a"), Column("at", SyncTime()))
    made.write(made.row(1, "a"))
    ((_, first),) = made.rows("id, at")
    assert abs(first - made.scratch.admin.execute("SELECT now() AT TIME ZONE 'UTC'").fetchone()[0])
    assert made.write(made.row(1, "a")) == 0
    assert made.rows("id, at") == [(1, first)]
    made.write(made.row(1, "b"))
    ((_, second),) = made.rows("id, at")
    assert timedelta(0) < second - first < timedelta(minutes=1)


def test_too_long_text_is_refused(written: Make) -> None:
    made = written("id int PRIMARY KEY, a varchar(3), b char(3)")
    for values in (("four", "b"), ("a", "four")):
        with pytest.raises(errors.StringDataRightTruncation):
            made.write(made.row(1, *values))
    assert made.rows() == []


def test_writers_of_equal_keys_wait(written: Make) -> None:
    made = written(DDL)
    other = made.scratch.session()
    other.execute("SET lock_timeout = '100ms'")
    second = made.another(other)
    rows = [made.row(i, "a", None, None) for i in range(20)]
    with made.connection.transaction():
        made.writer.write(made.connection, rows, DAY[0])
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            second.write(other, list(reversed(rows)), DAY[0])
    with other.transaction():
        assert second.write(other, list(reversed(rows)), DAY[0]) == 0


@pytest.mark.parametrize("kind", ["ALWAYS", "BY DEFAULT"])
@pytest.mark.parametrize("conflict", [source_wins(), insert_once(), newest_wins("at")], ids=str)
def test_identity_column_takes_the_sources_value(written: Make, kind: str, conflict: Any) -> None:
    """GENERATED ALWAYS AS IDENTITY refuses a value that the statement does not insist on."""
    ddl = f"id int GENERATED {kind} AS IDENTITY PRIMARY KEY, a text, at timestamp"
    made = written(ddl, conflict=conflict)
    made.write(made.row(41, "a", DAY[1]))
    made.write(made.row(41, "b", DAY[2]))
    stays = "a" if conflict == insert_once() else "b"
    assert made.rows("id, a") == [(41, stays)]


@pytest.mark.parametrize("columns", [62, 63, 64, 130, 400])
@pytest.mark.parametrize("read", [False, True], ids=["changed", "read"])
def test_wide_table_keeps_columns_it_is_told_to(written: Make, columns: int, read: object) -> None:
    """A bigint has a bit for 63 columns only; the others have theirs in further ones."""
    names = [f"c{at}" for at in range(columns)]
    ddl = ", ".join(["id int PRIMARY KEY", "at timestamp", *(f"{name} int" for name in names)])
    made = written(ddl, conflict=merge_changed("at"), needs_before_image=True)
    made.write(made.row(1, DAY[1], *range(columns)))
    kept = [at for at in range(columns) if at % 3 == 0]
    keep = sum(1 << at + 2 for at in kept) + (READ if read else 0)
    assert made.write(made.row(1, DAY[2], *(-1 - at for at in range(columns)), keep=keep)) == 1
    ((_, _, *found),) = made.rows()
    assert found == [at if at % 3 == 0 else -1 - at for at in range(columns)]
    again = made.row(1, DAY[2], *range(columns), keep=READ)
    assert made.write(again) == 0


def test_wide_row_without_its_unchanged_values_is_written(written: Make) -> None:
    names = [f"c{at} int" for at in range(100)]
    made = written(", ".join(["id int PRIMARY KEY", *names]))
    made.write(made.row(1, *range(100)))
    keep = 1 << 100
    made.write(made.row(1, *(7 for _ in range(99)), ABSENT, keep=keep))
    assert made.rows() == [(1, *(7 for _ in range(99)), 99)]
