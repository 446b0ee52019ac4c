"""Transient errors: no dead letter, row or offset is written, and the next attempt succeeds."""

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

from .conftest import CommitterHarness

pytestmark = pytest.mark.postgres


class TestTimeouts:
    def test_lock_timeout_is_doubled(self, harness: CommitterHarness) -> None:
        harness.committer.session.close()
        harness.committer = harness.new_committer(timeout=0.4)
        seconds = []
        with harness.target.connection.transaction():
            harness.target.writer.write(
                harness.target.connection, [harness.target.row(0, "mine")], NOW
            )
            for _ in range(2):
                with pytest.raises(TimedOutError, match="55P03"):
                    harness.apply(harness.batch("ok", "ok"))
                seconds.append(harness.committer.session.limit.seconds)
        assert seconds == [0.8, 1.6]
        assert harness.apply(harness.batch("ok", "ok")) == 2
        assert harness.dead_letters() == []

    def test_statement_timeout_is_extended(self, harness: CommitterHarness) -> None:
        harness.committer.session.close()
        harness.committer = harness.new_committer(timeout=0.3)
        write = harness.committer._writer.write

        def slow(connection: Any, *arguments: Any) -> int:
            connection.execute("SELECT pg_sleep(0.4)")
            return write(connection, *arguments)

        harness.committer._writer.write = slow
        with pytest.raises(TimedOutError, match="57014"):
            harness.apply(harness.batch("ok"))
        assert harness.apply(harness.batch("ok")) == 1


class TestInfrastructure:
    def interrupt(
        self, harness: CommitterHarness, action: Callable[[Any], None], after: str = "write"
    ) -> None:
        """Run `action` on the session after the rows, or the dead letters, are written."""
        committer = harness.committer
        part = committer._writer if after == "write" else committer._dead_letters
        write = part.write

        def wrapped(connection: Any, *rest: Any) -> Any:
            written = write(connection, *rest)
            action(connection)
            connection.execute("SELECT 1")
            return written

        part.write = wrapped

    @pytest.mark.parametrize("after", ["write", "dead letters"])
    def test_broken_connection_writes_nothing(self, harness: CommitterHarness, after: str) -> None:
        def kill(connection: Any) -> None:
            harness.sql(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")

        self.interrupt(harness, kill, after)
        batch = harness.batch("ok", "too long")
        with pytest.raises(RetriableError):
            harness.apply(batch)
        assert harness.is_unchanged()
        assert batch.dead_letters == []

    def test_next_attempt_opens_new_connection(self, harness: CommitterHarness) -> None:
        pid = harness.committer.session.open().info.backend_pid
        harness.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(RetriableError):
            harness.apply(harness.batch("ok", "too long"))
        assert harness.apply(harness.batch("ok", "too long"), again=True) == 1
        assert (harness.ids(), harness.dead_letters()) == ([0], [1])

    def test_locked_row_is_retriable_error(self, harness: CommitterHarness) -> None:
        harness.committer.session.open().execute("SET lock_timeout = '100ms'")
        with harness.target.connection.transaction():
            harness.target.writer.write(
                harness.target.connection, [harness.target.row(0, "mine")], NOW
            )
            with pytest.raises(RetriableError, match="55P03"):
                harness.apply(harness.batch("ok", "ok"))
            assert harness.is_unchanged()

    def test_missing_privilege_is_configuration_error(self, harness: CommitterHarness) -> None:
        harness.target.scratch.admin.execute(
            f"REVOKE INSERT ON {harness.target.table.sql_name} FROM sink_writer"
        )
        table = harness.target.table.table
        grant = f"INSERT, UPDATE, DELETE ON TABLE {table.schema}.{table.name} TO sink_writer"
        harness.committer.session.close()
        harness.committer = harness.new_committer(table=table)
        with pytest.raises(ConfigError, match=grant):
            harness.apply(harness.batch("ok"))
        assert harness.is_unchanged()

    def test_dropped_column_is_configuration_error(self, harness: CommitterHarness) -> None:
        harness.target.scratch.admin.execute(
            f"ALTER TABLE {harness.target.table.sql_name} DROP COLUMN v"
        )
        with pytest.raises(ConfigError, match="42703"):
            harness.apply(harness.batch("ok"))

    def test_running_statement_can_be_cancelled(self, harness: CommitterHarness) -> None:
        self.interrupt(harness, lambda connection: connection.execute("SELECT pg_sleep(30)"))
        threading.Timer(0.5, harness.committer.session.cancel).start()
        started = time.monotonic()
        with pytest.raises(RetriableError, match="57014"):
            harness.apply(harness.batch("ok"))
        assert time.monotonic() - started < 10
        assert harness.is_unchanged()

    def test_cancel_of_closed_session_is_ignored(self, harness: CommitterHarness) -> None:
        harness.committer.session.open().close()
        harness.committer.session.cancel()
        harness.committer.session.close()
        harness.committer.session.cancel()

    def test_session_that_fails_to_prepare_is_closed(self, harness: CommitterHarness) -> None:
        harness.committer.session.close()
        harness.committer._writer.prepare = lambda connection: connection.execute("SELECT 1/0")
        for _ in range(3):
            with pytest.raises(EventError):
                harness.apply(harness.batch("ok"))
        active = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%harness'"
        deadline = time.monotonic() + 5
        while harness.sql(active) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert harness.sql(active) == [(0,)]
