"""Many rows to one: what is derived from the candidates of a group, whoever writes them."""

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
def made(written: Callable[..., Any]) -> Any:
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


def ids(made: Any) -> list[tuple]:
    return made.rows("family, id")


class TestDerivation:
    def test_only_the_best_of_a_group_are_there(self, made: Any) -> None:
        assert made.write(*(made.row(i, "f", i, NOW) for i in range(5))) == 2
        assert ids(made) == [("f", 3), ("f", 4)]

    def test_the_runner_up_comes_when_the_best_goes(self, made: Any) -> None:
        made.write(*(made.row(i, "f", i, NOW) for i in range(5)))
        assert made.write(made.gone(4, position=2)) == 2
        assert ids(made) == [("f", 2), ("f", 3)]

    def test_a_candidate_that_changes_its_group_changes_both(self, made: Any) -> None:
        made.write(*(made.row(i, "f", i, NOW) for i in range(4)))
        made.write(made.row(3, "g", 3, NOW, position=2))
        assert ids(made) == [("f", 1), ("f", 2), ("g", 3)]

    def test_within_one_batch_too(self, made: Any) -> None:
        rows = [made.row(1, family, 1, NOW, position=i) for i, family in enumerate("fgh")]
        made.write(*rows, made.row(2, "f", 2, NOW))
        assert ids(made) == [("f", 2), ("h", 1)]

    def test_the_same_again_writes_nothing(self, made: Any) -> None:
        row = made.row(1, "f", 1, NOW)
        assert (made.write(row), made.write(row)) == (1, 0)

    def test_other_groups_are_left_alone(self, made: Any) -> None:
        made.write(made.row(1, "f", 1, NOW), made.row(2, "g", 1, NOW))
        before = made.rows("family, xmin::text")
        made.write(made.row(3, "g", 5, NOW))
        assert made.rows("family, xmin::text")[0] == before[0]

    def test_an_older_event_changes_no_candidate(self, made: Any) -> None:
        made.write(made.row(1, "f", 9, NOW, position=5))
        assert made.write(made.row(1, "f", 1, NOW, position=4)) == 0
        assert made.rows("family, score") == [("f", 9)]


class TestNewestWins:
    """Of one candidate's versions, by their own time first and by the log second."""

    @pytest.fixture
    def made(self, written: Callable[..., Any]) -> Any:
        return make(written, conflict=newest_wins("at"))

    @pytest.mark.parametrize("together", [True, False])
    def test_older_version_changes_nothing_though_it_comes_later(
        self, made: Any, *, together: bool
    ) -> None:
        rows = [made.row(1, "f", 9, NOW), made.row(1, "g", 1, NOW - DAY, position=2)]
        for batch in [rows] if together else [[row] for row in rows]:
            made.write(*batch)
        assert made.rows("family, score") == [("f", 9)]

    @pytest.mark.parametrize(("position", "score"), [(4, 9), (5, 1), (6, 1)])
    def test_later_position_wins_at_equal_times(self, made: Any, position: int, score: int) -> None:
        made.write(made.row(1, "f", 9, NOW, position=5))
        made.write(made.row(1, "f", 1, NOW, position=position))
        assert made.rows("score") == [(score,)]

    def test_a_newer_version_wins_from_wherever_it_comes(self, made: Any) -> None:
        made.write(made.row(1, "f", 9, NOW - DAY, position=5))
        made.write(made.row(1, "f", 1, NOW, position=4))
        assert made.rows("score") == [(1,)]


class TestSyncTime:
    @pytest.fixture
    def made(self, written: Callable[..., Any]) -> Any:
        columns = (*COLUMNS, Column("synced", SyncTime(), type="timestamp"))
        return make(written, columns=columns, ddl=f"{DDL}, synced timestamp")

    def test_a_derived_row_tells_when_it_was_written(self, made: Any) -> None:
        utc = "SELECT now() AT TIME ZONE 'UTC'"
        (before,) = made.scratch.admin.execute(utc).fetchone()
        made.write(made.row(1, "f", 1, NOW))
        ((first,),) = made.rows("synced")
        made.write(made.row(1, "f", 2, NOW, position=2))
        ((second,),) = made.rows("synced")
        assert before <= first < second

    def test_it_alone_is_no_change(self, made: Any) -> None:
        made.write(made.row(1, "f", 1, NOW))
        before = made.rows("synced, xmin::text")
        assert made.write(made.row(1, "f", 1, NOW, position=2)) == 0
        assert made.rows("synced, xmin::text") == before

    def test_the_target_must_have_it(self, written: Callable[..., Any]) -> None:
        with pytest.raises(ConfigError, match=r"unknown: \['when'\]"):
            make(written, columns=(*COLUMNS, Column("when", SyncTime(), type="timestamp")))


class TestExpiry:
    def test_what_has_aged_makes_room(self, made: Any) -> None:
        made.write(*(made.row(i, "f", i, NOW - (i * DAY)) for i in range(4)))
        assert ids(made) == [("f", 2), ("f", 3)]
        with made.connection.transaction():
            made.writer.expire(made.connection, NOW + 27 * DAY + timedelta(hours=1))
        assert ids(made) == [("f", 1), ("f", 2)]

    def test_nothing_aged_touches_nothing(self, made: Any) -> None:
        made.write(made.row(1, "f", 1, NOW))
        with made.connection.transaction():
            assert made.writer.expire(made.connection, NOW) == 0

    def test_to_the_moment(self, made: Any) -> None:
        made.write(made.row(1, "f", 1, NOW))
        for late, left in ((timedelta(0), 1), (timedelta(microseconds=1), 0)):
            with made.connection.transaction():
                made.writer.expire(made.connection, NOW + 30 * DAY + late)
            assert len(ids(made)) == left


class TestTwoAtOnce:
    def test_a_group_never_has_too_many(self, made: Any) -> None:
        """Each session would see only its own candidates of the family."""
        other = made.scratch.session()
        second = made.another(other)
        done = threading.Event()

        def write_two() -> None:
            with other.transaction():
                second.write(other, [made.row(i, "f", i, NOW) for i in (3, 4)], NOW)
            done.set()

        thread = threading.Thread(target=write_two)
        with made.connection.transaction():
            made.writer.write(made.connection, [made.row(i, "f", i, NOW) for i in (1, 2)], NOW)
            thread.start()
            assert not done.wait(0.5)
        thread.join(20)
        assert ids(made) == [("f", 3), ("f", 4)]

    def test_however_often(self, made: Any) -> None:
        def work(worker: int) -> None:
            connection = sessions[worker]
            for turn in range(8):
                number = turn * 2 + worker
                rows = [made.row(number * 10 + k, f"f{k}", number, NOW) for k in range(3)]
                with connection.transaction():
                    writers[worker].write(connection, rows[:: 1 - 2 * worker], NOW)

        sessions = [made.scratch.session() for _ in range(2)]
        writers = [made.another(session) for session in sessions]
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert made.rows("family, score") == [(f"f{k}", s) for k in range(3) for s in (14, 15)]

    def test_runners_may_start_together(self, written: Callable[..., Any]) -> None:
        for _ in range(5):
            made = make(written)
            table = made.writer._sql.target
            made.scratch.admin.execute(f"DROP TABLE {table}")
            sessions = [made.scratch.session() for _ in range(4)]
            faults: list[Exception] = []

            def start(session: Any, made: Any = made, faults: list = faults) -> None:
                try:
                    made.another(session)
                except Exception as fault:  # noqa: BLE001 - any is one too many
                    faults.append(fault)

            threads = [threading.Thread(target=start, args=(session,)) for session in sessions]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert faults == []
            made.scratch.admin.execute(f"DROP TABLE {made.table.sql_name}, {table}")


def test_a_declared_length_refuses_and_never_cuts(written: Callable[..., Any]) -> None:
    made = make(written, columns=(*COLUMNS[:1], Column("family", type="varchar(3)"), *COLUMNS[2:]))
    with pytest.raises(Exception, match="too long"):
        made.write(made.row(1, "four", 1, NOW))


@pytest.mark.parametrize(
    "select", ["SELECT id, score FROM {candidates} c", "SELECT c.*, 1 AS x FROM {candidates} c"]
)
def test_a_derivation_of_other_columns_is_refused(written: Callable[..., Any], select: str) -> None:
    with pytest.raises(ConfigError, match="must return"):
        make(written, select)
