"""Mappings, batches, schedules and the API on a server with TLS, while passwords change."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import PoolTimeout
from structlog.testing import capture_logs

from sink_runner.api.services import _pool
from sink_runner.batch import session as batch_session
from sink_runner.batch.session import Options
from sink_runner.config import Config
from sink_runner.config.database import Database
from sink_runner.config.dsn import Dsn
from sink_runner.errors import AccessError, ConfigError
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.model.status import State
from sink_runner.plugin import Column, Lookup
from sink_runner.runtime.mapping_thread import MappingThread
from sink_runner.schedule.plans import Progress
from sink_runner.schedule.run_history import PostgresRunHistory
from sink_runner.transform.lookups import Lookups

from ...conftest import Scratch, Written
from ..preflight.conftest import MappedTables
from ..runtime.conftest import WorkerHarness
from ..schedule.test_run_history import plan
from .server import SecureServer

pytestmark = pytest.mark.postgres
Configured = Callable[..., Database]


@pytest.fixture
def harness(
    server: SecureServer, database: str, configured_database: Configured
) -> Iterator[WorkerHarness]:
    """A harness whose workers use the login over TLS."""
    scratch = Scratch(server.postgres, database)
    scratch.dsn = configured_database().dsn
    yield WorkerHarness(partial(Written, scratch))
    scratch.close()


def rotate(server: SecureServer, new: str) -> None:
    """Change the writer's password, and end its sessions as a failover does."""
    server.admin(f"ALTER ROLE sink_writer PASSWORD '{new}'")
    server.end_sessions("sink_writer")


def wait_for(state: State, harness: WorkerHarness, seconds: float = 60) -> str:
    """Wait until the mapping is in this state; return the reason of the state."""
    deadline = time.monotonic() + seconds
    while (found := harness.health.statuses()["staged"]).state is not state:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found.reason


def test_rotated_password_is_used_by_the_reconnect(
    harness: WorkerHarness, server: SecureServer, password: Path
) -> None:
    with harness.running() as running:
        harness.broker.send(0, 1)
        harness.wait_for([1])
        password.write_text("rotated\n")
        rotate(server, "rotated")
        harness.broker.send(0, 2)
        harness.wait_for([1, 2])
    assert running.error is None


def test_refused_login_quarantines_until_the_password_is_right(
    harness: WorkerHarness, server: SecureServer, password: Path
) -> None:
    """The mapping is rebuilt periodically, and no row is lost or written twice."""
    ended, stops = threading.Event(), []

    def build() -> Any:
        worker, _, stop = harness.worker()
        stops.append(stop)
        return worker

    health = harness.health.mapping("staged")
    thread = MappingThread("staged", build, health, ended, recheck_seconds=0.1)
    thread.start()
    harness.broker.send(0, 1)
    harness.wait_for([1])
    rotate(server, "rotated")
    harness.broker.send(0, 2)
    reason = wait_for(State.QUARANTINED, harness)
    assert "password authentication failed" in reason
    assert server.password not in reason
    harness.broker.send(0, 3)
    password.write_text("rotated\n")
    harness.wait_for([1, 2, 3])
    wait_for(State.RUNNING, harness)
    ended.set()
    for stop in stops:
        stop.set()
    thread.join(60)
    assert not thread.is_alive()
    dead_letters = harness.target.scratch.admin.execute("SELECT count(*) FROM sink.dead_letter")
    assert dead_letters.fetchone() == (0,)


def test_refused_lookup_is_configuration_error(
    configured_database: Configured, server: SecureServer, database: str
) -> None:
    known = configured_database(reader_dsn=server.reader(database, sslcert="/none"))
    lookup = Lookup("SELECT unnest(%s::text[]), 'x'", "north")
    lookups = Lookups([Column("c", lookup=lookup)], {"north": known.reader_dsn})
    with pytest.raises(AccessError, match=r"lookup of column 'c': no login to .*sslcert"):
        lookups.resolve("c", {"a"})


def test_refused_scheduler_waits_for_the_password(
    configured_database: Configured, server: SecureServer, database: str, password: Path
) -> None:
    """The schedules of other databases run meanwhile."""
    dsns = {"one": configured_database().dsn, "two": configured_database(password="wrong").dsn}
    plans, now = [plan(), plan(database="two")], datetime.now(UTC)
    with closing(PostgresRunHistory(dsns)) as history, capture_logs() as logs:
        assert history.read(plans, now) == {plans[0]: Progress(done_until=now)}
        (reason,) = [log["reason"] for log in logs if log["event"] == "schedule_waiting"]
        assert "password authentication failed" in reason
        rotate(server, "rotated")
        assert history.read(plans[:1], now) == {}
        password.write_text("rotated\n")
        assert history.read(plans[:1], now) == {plans[0]: Progress(done_until=now)}


def test_pool_of_the_api_uses_the_rotated_password(
    configured_database: Configured, server: SecureServer, password: Path
) -> None:
    with _pool(configured_database().dsn, 5.0, 2) as pool:
        with pool.connection() as connection:
            assert connection.pgconn.ssl_in_use
        rotate(server, "rotated")
        password.write_text("rotated\n")
        with pool.connection(timeout=20) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_pool_of_the_api_logs_the_remedy(
    configured_database: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    refused = configured_database(password="hunter2")
    with _pool(refused.dsn, 2.0, 1) as pool, pytest.raises(PoolTimeout):
        pool.getconn()
    assert "as sink_writer (password authentication failed" in caplog.text
    assert "check the password in [databases]" in caplog.text
    assert "hunter2" not in caplog.text


def test_api_does_not_start_with_a_plaintext_password(configured_database: Configured) -> None:
    refused = configured_database(dsn="host=192.0.2.1 sslmode=prefer password=hunter2")
    with pytest.raises(ConfigError, match="sslmode=prefer may send the password") as caught:
        _pool(refused.dsn, 0.2, 1)
    assert "hunter2" not in str(caught.value)


class SecureTables(MappedTables):
    """A mapping between two databases with logins over TLS."""

    server: SecureServer
    password: str

    @property
    def config(self) -> Config:
        config = super().config
        databases = {
            name: replace(
                found,
                dsn=Dsn.of(self.server.writer(actual, password=self.password)),
                reader_dsn=Dsn.of(self.server.reader(actual)),
            )
            for (name, found), actual in zip(config.databases.items(), self.databases, strict=True)
        }
        return replace(config, databases=databases)


@pytest.fixture
def tables(server: SecureServer) -> Iterator[SecureTables]:
    names = [server.postgres.fresh_database(n) for n in ("smart_warehouse", "smart_citizen")]
    secure = SecureTables(server.postgres, (names[0], names[1]))
    secure.server, secure.password = server, server.password
    secure.create()
    yield secure
    secure.close()


def test_mapping_starts_and_runs_its_batch(tables: SecureTables) -> None:
    assert tables.refusals() == []
    assert tables.start() == ""
    tables.run(tables.source, "INSERT INTO {s}.t SELECT n, 'v' || n FROM generate_series(1, 20) n")
    entry_point = EntryPoint("bench", "bench", "sink_runner.v1")
    plugin = Plugin(
        name="bench", entry_points=(entry_point,), status=Status.ON, mapping=tables.mapping
    )
    report = batch_session.run(plugin, [plugin], tables.config, Options(full=True), wait=False)
    assert (report.counts["read"], report.counts["written"]) == (20, 20)


def test_mapping_with_refused_login_is_configuration_error(tables: SecureTables) -> None:
    tables.password = "wrong"
    with pytest.raises(AccessError, match=r"no login to database smart_citizen_\d+ at 127.0.0.1:"):
        tables.preflight()
    assert "check the password" in tables.start()
