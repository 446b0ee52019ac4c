"""Derived rows: computed from the candidates of a group, by one or several writers."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sink_runner.errors import ConfigError
from sink_runner.plugin import Column, Derived, SyncTime, newest_wins
from sink_runner.testing import NOW

pytestmark = pytest.mark.postgres
TOP_TWO = """
SELECT family, id, score, at FROM (
  SELECT *, row_number() OVER (PARTITION BY family ORDER BY score DESC, id) AS place
  FROM {candidates} c WHERE at >= {now} - interval '30 days'
) ranked WHERE place <= 2
"""
COLUMNS = (
    Column("id", type="integer"),
    Column("family", type="text"),
    Column("score", type="integer"),
    Column("at", type="timestamp"),
)
DDL = "family text, id int, score int, at timestamp, PRIMARY KEY (family, id)"
DAY = timedelta(days=1)


@pytest.fixture
def target(written: Callable[..., Any]) -> Any:
    return make(written)


def make(
    written: Callable[..., Any],
    select: str = TOP_TWO,
    columns: Any = COLUMNS,
    ddl: str = DDL,
    **declared: Any,
) -> Any:
    candidates = Derived(
        key=("id",),
        group=("family",),
        select=select,
        expire_column="at",
        expire_after=30 * DAY,
    )
    return written(ddl, *columns, key=("family", "id"), derived=candidates, **declared)


def ids(target: Any) -> list[tuple]:
    return target.rows("family, id")


class TestDerivation:
    def test_best_candidates_of_group_are_written(self, target: Any) -> None:
        assert target.write(*(target.row(i, "f", i, NOW) for i in range(5))) == 2
        assert ids(target) == [("f", 3), ("f", 4)]

    def test_next_candidate_replaces_deleted_one(self, target: Any) -> None:
        target.write(*(target.row(i, "f", i, NOW) for i in range(5)))
        assert target.write(target.gone(4, position=2)) == 2
        assert ids(target) == [("f", 2), ("f", 3)]

    def test_candidate_that_changes_group_updates_both(self, target: Any) -> None:
        target.write(*(target.row(i, "f", i, NOW) for i in range(4)))
        target.write(target.row(3, "g", 3, NOW, position=2))
        assert ids(target) == [("f", 1), ("f", 2), ("g", 3)]

    def test_group_may_change_within_batch(self, target: Any) -> None:
        rows = [target.row(1, family, 1, NOW, position=i) for i, family in enumerate("fgh")]
        target.write(*rows, target.row(2, "f", 2, NOW))
        assert ids(target) == [("f", 2), ("h", 1)]

    def test_repeated_candidate_writes_nothing(self, target: Any) -> None:
        row = target.row(1, "f", 1, NOW)
        assert (target.write(row), target.write(row)) == (1, 0)

    def test_other_groups_are_not_written(self, target: Any) -> None:
        target.write(target.row(1, "f", 1, NOW), target.row(2, "g", 1, NOW))
        before = target.rows("family, xmin::text")
        target.write(target.row(3, "g", 5, NOW))
        assert target.rows("family, xmin::text")[0] == before[0]

    def test_older_event_is_ignored(self, target: Any) -> None:
        target.write(target.row(1, "f", 9, NOW, position=5))
        assert target.write(target.row(1, "f", 1, NOW, position=4)) == 0
        assert target.rows("family, score") == [("f", 9)]


class TestNewestWins:
    """The versions of a candidate are ordered by time, then by position."""

    @pytest.fixture
    def target(self, written: Callable[..., Any]) -> Any:
        return make(written, conflict=newest_wins("at"))

    @pytest.mark.parametrize("together", [True, False])
    def test_later_event_with_older_version_is_ignored(
        self, target: Any, *, together: bool
    ) -> None:
        rows = [target.row(1, "f", 9, NOW), target.row(1, "g", 1, NOW - DAY, position=2)]
        for batch in [rows] if together else [[row] for row in rows]:
            target.write(*batch)
        assert target.rows("family, score") == [("f", 9)]

    @pytest.mark.parametrize(("position", "score"), [(4, 9), (5, 1), (6, 1)])
    def test_later_position_wins_at_equal_times(
        self, target: Any, position: int, score: int
    ) -> None:
        target.write(target.row(1, "f", 9, NOW, position=5))
        target.write(target.row(1, "f", 1, NOW, position=position))
        assert target.rows("score") == [(score,)]

    def test_newer_version_wins_over_later_position(self, target: Any) -> None:
        target.write(target.row(1, "f", 9, NOW - DAY, position=5))
        target.write(target.row(1, "f", 1, NOW, position=4))
        assert target.rows("score") == [(1,)]


class TestSyncTime:
    @pytest.fixture
    def target(self, written: Callable[..., Any]) -> Any:
        columns = (*COLUMNS, Column("synced", SyncTime(), type="timestamp"))
        return make(written, columns=columns, ddl=f"{DDL}, synced timestamp")

    def test_derived_row_has_time_of_write(self, target: Any) -> None:
        utc = "SELECT now() AT TIME ZONE 'UTC'"
        (before,) = target.scratch.admin.execute(utc).fetchone()
        target.write(target.row(1, "f", 1, NOW))
        ((first,),) = target.rows("synced")
        target.write(target.row(1, "f", 2, NOW, position=2))
        ((second,),) = target.rows("synced")
        assert before <= first < second

    def test_time_of_write_alone_writes_nothing(self, target: Any) -> None:
        target.write(target.row(1, "f", 1, NOW))
        before = target.rows("synced, xmin::text")
        assert target.write(target.row(1, "f", 1, NOW, position=2)) == 0
        assert target.rows("synced, xmin::text") == before

    def test_target_must_have_sync_time_column(self, written: Callable[..., Any]) -> None:
        with pytest.raises(ConfigError, match=r"unknown: \['when'\]"):
            make(written, columns=(*COLUMNS, Column("when", SyncTime(), type="timestamp")))


class TestExpiry:
    def test_next_candidate_replaces_expired_one(self, target: Any) -> None:
        target.write(*(target.row(i, "f", i, NOW - (i * DAY)) for i in range(4)))
        assert ids(target) == [("f", 2), ("f", 3)]
        with target.connection.transaction():
            target.writer.expire(target.connection, NOW + 27 * DAY + timedelta(hours=1))
        assert ids(target) == [("f", 1), ("f", 2)]

    def test_nothing_expired_writes_nothing(self, target: Any) -> None:
        target.write(target.row(1, "f", 1, NOW))
        with target.connection.transaction():
            assert target.writer.expire(target.connection, NOW) == 0

    def test_candidate_expires_after_exact_time(self, target: Any) -> None:
        target.write(target.row(1, "f", 1, NOW))
        for delay, remaining in ((timedelta(0), 1), (timedelta(microseconds=1), 0)):
            with target.connection.transaction():
                target.writer.expire(target.connection, NOW + 30 * DAY + delay)
            assert len(ids(target)) == remaining


class TestConcurrentWriters:
    def test_group_is_derived_from_all_writers(self, target: Any) -> None:
        """Without a lock, each session would see only its own candidates of the family."""
        other = target.scratch.session()
        second = target.another(other)
        done = threading.Event()

        def write_two() -> None:
            with other.transaction():
                second.write(other, [target.row(i, "f", i, NOW) for i in (3, 4)], NOW)
            done.set()

        thread = threading.Thread(target=write_two)
        with target.connection.transaction():
            target.writer.write(
                target.connection, [target.row(i, "f", i, NOW) for i in (1, 2)], NOW
            )
            thread.start()
            assert not done.wait(0.5)
        thread.join(60)
        assert ids(target) == [("f", 3), ("f", 4)]

    def test_many_concurrent_writes_converge(self, target: Any) -> None:
        def work(worker: int) -> None:
            connection = sessions[worker]
            for turn in range(8):
                number = turn * 2 + worker
                rows = [target.row(number * 10 + k, f"f{k}", number, NOW) for k in range(3)]
                with connection.transaction():
                    writers[worker].write(connection, rows[:: 1 - 2 * worker], NOW)

        sessions = [target.scratch.session() for _ in range(2)]
        writers = [target.another(session) for session in sessions]
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert target.rows("family, score") == [(f"f{k}", s) for k in range(3) for s in (14, 15)]

    def test_runners_may_start_concurrently(self, written: Callable[..., Any]) -> None:
        for _ in range(5):
            target = make(written)
            table = target.writer._sql.target
            target.scratch.admin.execute(f"DROP TABLE {table}")
            sessions = [target.scratch.session() for _ in range(4)]
            errors: list[Exception] = []

            def start(session: Any, target: Any = target, errors: list = errors) -> None:
                try:
                    target.another(session)
                except Exception as error:  # noqa: BLE001 - the test fails for any error
                    errors.append(error)

            threads = [threading.Thread(target=start, args=(session,)) for session in sessions]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert errors == []
            target.scratch.admin.execute(f"DROP TABLE {target.table.sql_name}, {table}")


def test_too_long_value_is_refused(written: Callable[..., Any]) -> None:
    target = make(
        written, columns=(*COLUMNS[:1], Column("family", type="varchar(3)"), *COLUMNS[2:])
    )
    with pytest.raises(Exception, match="too long"):
        target.write(target.row(1, "four", 1, NOW))


@pytest.mark.parametrize(
    "select", ["SELECT id, score FROM {candidates} c", "SELECT c.*, 1 AS x FROM {candidates} c"]
)
def test_derivation_of_other_columns_is_refused(written: Callable[..., Any], select: str) -> None:
    with pytest.raises(ConfigError, match="must return"):
        make(written, select)
