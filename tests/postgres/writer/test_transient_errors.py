"""The world refuses: no dead letter, no row, no offset; and the next attempt is a good one."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.errors import (
    ConfigError,
    EventError,
    RetriableError,
    TimedOutError,
)
from sink_runner.testing import NOW

from .conftest import Bench

pytestmark = pytest.mark.postgres


class TestTooLate:
    def test_held_lock_gets_more_time(self, bench: Bench) -> None:
        bench.committer.session.close()
        bench.committer = bench.another(timeout=0.4)
        seconds = []
        with bench.made.connection.transaction():
            bench.made.writer.write(bench.made.connection, [bench.made.row(0, "mine")], NOW)
            for _ in range(2):
                with pytest.raises(TimedOutError, match="55P03"):
                    bench.apply(bench.batch("ok", "ok"))
                seconds.append(bench.committer.session.limit.seconds)
        assert seconds == [0.8, 1.6]
        assert bench.apply(bench.batch("ok", "ok")) == 2
        assert bench.dead_letters() == []

    def test_a_statement_that_takes_long_gets_more_time(self, bench: Bench) -> None:
        bench.committer.session.close()
        bench.committer = bench.another(timeout=0.3)
        write = bench.committer._writer.write

        def slow(connection: Any, *given: Any) -> int:
            connection.execute("SELECT pg_sleep(0.4)")
            return write(connection, *given)

        bench.committer._writer.write = slow
        with pytest.raises(TimedOutError, match="57014"):
            bench.apply(bench.batch("ok"))
        assert bench.apply(bench.batch("ok")) == 1


class TestTheWorld:
    def failing(self, bench: Bench, how: Callable[[Any], None], when: str = "write") -> None:
        """Have something happen to the session between the write and the commit."""
        target = bench.committer._writer if when == "write" else bench.committer._dead_letters
        write = target.write

        def wrapped(connection: Any, *rest: Any) -> Any:
            done = write(connection, *rest)
            how(connection)
            connection.execute("SELECT 1")
            return done

        target.write = wrapped

    @pytest.mark.parametrize("when", ["write", "letters"])
    def test_a_connection_that_breaks_leaves_nothing(self, bench: Bench, when: str) -> None:
        def kill(connection: Any) -> None:
            bench.sql(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")

        self.failing(bench, kill, when)
        batch = bench.batch("ok", "too long")
        with pytest.raises(RetriableError):
            bench.apply(batch)
        assert bench.nothing_happened()
        assert batch.dead_letters == []

    def test_and_the_next_attempt_opens_another(self, bench: Bench) -> None:
        bench.sql(
            f"SELECT pg_terminate_backend({bench.committer.session.open().info.backend_pid}, 5000)"
        )
        with pytest.raises(RetriableError):
            bench.apply(bench.batch("ok", "too long"))
        assert bench.apply(bench.batch("ok", "too long"), again=True) == 1
        assert (bench.ids(), bench.dead_letters()) == ([0], [1])

    def test_a_row_that_someone_holds_is_waited_for(self, bench: Bench) -> None:
        bench.committer.session.open().execute("SET lock_timeout = '100ms'")
        with bench.made.connection.transaction():
            bench.made.writer.write(bench.made.connection, [bench.made.row(0, "mine")], NOW)
            with pytest.raises(RetriableError, match="55P03"):
                bench.apply(bench.batch("ok", "ok"))
            assert bench.nothing_happened()

    def test_privilege_that_was_taken_away_is_nobodys_row(self, bench: Bench) -> None:
        bench.made.scratch.admin.execute(
            f"REVOKE INSERT ON {bench.made.table.sql_name} FROM sink_writer"
        )
        table = bench.made.table.table
        grant = f"INSERT, UPDATE, DELETE ON TABLE {table.schema}.{table.name} TO sink_writer"
        bench.committer.session.close()
        bench.committer = bench.another(table=table)
        with pytest.raises(ConfigError, match=grant):
            bench.apply(bench.batch("ok"))
        assert bench.nothing_happened()

    def test_a_column_that_is_gone_stops_the_mapping(self, bench: Bench) -> None:
        bench.made.scratch.admin.execute(f"ALTER TABLE {bench.made.table.sql_name} DROP COLUMN v")
        with pytest.raises(ConfigError, match="42703"):
            bench.apply(bench.batch("ok"))

    def test_a_statement_is_cancelled_from_outside(self, bench: Bench) -> None:
        self.failing(bench, lambda connection: connection.execute("SELECT pg_sleep(30)"))
        threading.Timer(0.5, bench.committer.session.cancel).start()
        started = time.monotonic()
        with pytest.raises(RetriableError, match="57014"):
            bench.apply(bench.batch("ok"))
        assert time.monotonic() - started < 10
        assert bench.nothing_happened()

    def test_cancelling_what_has_ended_is_no_fault(self, bench: Bench) -> None:
        bench.committer.session.open().close()
        bench.committer.session.cancel()
        bench.committer.session.close()
        bench.committer.session.cancel()

    def test_session_that_cannot_be_made_ready_is_closed(self, bench: Bench) -> None:
        bench.committer.session.close()
        bench.committer._writer.prepare = lambda connection: connection.execute("SELECT 1/0")
        for _ in range(3):
            with pytest.raises(EventError):
                bench.apply(bench.batch("ok"))
        active = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%bench'"
        deadline = time.monotonic() + 5
        while bench.sql(active) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert bench.sql(active) == [(0,)]
