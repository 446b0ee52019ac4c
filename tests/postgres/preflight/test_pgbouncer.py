"""A real PgBouncer: the runner works in pool_mode session and refuses the other modes."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib.metadata import EntryPoint
from typing import Any

import psycopg
import pytest
from sink_stack.testing_postgres import pooling

from sink_runner.batch import session as batch_session
from sink_runner.batch.session import Options
from sink_runner.config import Config
from sink_runner.config.dsn import Dsn
from sink_runner.errors import ConfigError
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.postgres.session import connect, renew_commit_time, use_origin

from ..runtime.conftest import WorkerHarness
from .conftest import MappedTables

pytestmark = pytest.mark.postgres

ORIGIN = "SELECT pg_replication_origin_session_is_setup(), pg_backend_pid()"
REFUSED = r"session of role sink_\w+ in database \w+ at 127.0.0.1:\d+: .*pool_mode = session"


class PooledTables(MappedTables):
    """A mapping whose databases are reached through PgBouncer."""

    def __init__(self, postgres: Any, databases: tuple[str, str], through: Any) -> None:
        super().__init__(postgres, databases)
        self._through = through

    @property
    def config(self) -> Config:
        config = super().config
        for database in config.databases.values():
            for name in ("dsn", "reader_dsn"):
                through = self._through(getattr(database, name).read())
                object.__setattr__(database, name, Dsn.of(through))
        return config


@pytest.fixture(scope="module")
def session_mode(postgres) -> Iterator[Any]:
    with pooling(postgres, "session") as through:
        yield through


@pytest.fixture(scope="module", params=["transaction", "statement"])
def shared_mode(postgres, request) -> Iterator[Any]:
    with pooling(postgres, request.param) as through:
        yield through


def pooled_tables(postgres: Any, databases: tuple[str, str], through: Any) -> PooledTables:
    pooled = PooledTables(postgres, databases, through)
    pooled.create()
    return pooled


def test_mapping_starts_through_session_mode(postgres, table_databases, session_mode) -> None:
    pooled = pooled_tables(postgres, table_databases, session_mode)
    assert pooled.refusals() == []
    assert pooled.start() == ""
    pooled.close()


def test_mapping_refuses_shared_sessions(postgres, table_databases, shared_mode) -> None:
    pooled = pooled_tables(postgres, table_databases, shared_mode)
    with pytest.raises(ConfigError, match=REFUSED):
        pooled.preflight()
    assert "pool_mode = session" in pooled.start()
    pooled.close()


def test_shared_sessions_are_detected_among_other_clients(
    postgres, scratch_database, shared_mode
) -> None:
    """Idle server sessions of other clients do not hide that sessions are shared."""
    dsn = shared_mode(postgres.dsn(scratch_database, "sink_writer"))
    others = [psycopg.connect(dsn, autocommit=True) for _ in range(5)]
    cursors = [other.cursor() for other in others]
    for cursor in cursors:
        cursor.execute("SELECT 1")
    with pytest.raises(ConfigError, match=REFUSED):
        connect(dsn, "test")
    for other in others:
        other.close()


def test_session_starts_without_origin_of_previous_client(
    postgres, scratch_database, session_mode
) -> None:
    """PgBouncer's DISCARD ALL keeps the origin: a client's writes would look like echoes."""
    dsn = session_mode(postgres.dsn(scratch_database, "sink_writer"))
    with closing(connect(dsn, "first")) as first:
        use_origin(first, "first")
        _, pid = first.execute(ORIGIN).fetchone()
    with ExitStack() as sessions:
        for _ in range(10):  # PgBouncer chooses which idle server process a client gets
            second = sessions.enter_context(closing(connect(dsn, "second")))
            if second.execute(ORIGIN).fetchone() == (False, pid):
                break
        else:
            raise AssertionError
        use_origin(second, "second")
        renew_commit_time(second)


def test_worker_streams_through_session_mode(written, session_mode) -> None:
    harness = WorkerHarness(written)
    harness.target.scratch.dsn = session_mode(harness.target.scratch.dsn)
    harness.use_partitions(2)
    for number in range(20):
        harness.broker.send(number % 2, number)
    with harness.running("one") as one, harness.running("two") as two:
        harness.wait_for(list(range(20)))
        for number in range(20, 40):
            harness.broker.send(number % 2, number)
        harness.broker.assign(one={0}, two={1})
        harness.wait_for(list(range(40)))
    assert (one.error, two.error) == (None, None)


def test_batch_runs_through_session_mode(postgres, table_databases, session_mode) -> None:
    pooled = pooled_tables(postgres, table_databases, session_mode)
    pooled.run(pooled.source, "INSERT INTO {s}.t SELECT n, 'v' || n FROM generate_series(1, 20) n")
    entry_point = EntryPoint("bench", "bench", "sink_runner.v1")
    plugin = Plugin(
        name="bench", entry_points=(entry_point,), status=Status.ON, mapping=pooled.mapping
    )
    for written in (20, 0):
        report = batch_session.run(plugin, [plugin], pooled.config, Options(full=True), wait=False)
        assert (report.counts["read"], report.counts["written"]) == (20, written)
    pooled.close()
