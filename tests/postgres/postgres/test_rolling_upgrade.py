"""Runners of an older version write while a newer one migrates: no event is lost or repeated.

The older runners are simulated by their SQL statements; the newer ones are the real code.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sink_runner.errors import ConfigError
from sink_runner.model.partition import Advance, Topic
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.writer.audit import audit
from sink_runner.writer.offsets import Offsets

LAYOUT = Path(__file__).parent / "layouts" / "3610236.sql"
MORE_EVENTS = 400
CLAIM = """
INSERT INTO sink.partition_offset (mapping, cluster_id, topic, topic_id, partition, owner)
VALUES ('orders', 'c', 't', 'i', %s, 'old')
"""
WRITE = "INSERT INTO written VALUES (%s, %s)"
AUDIT = "INSERT INTO cdc_audit_log (event_type, details) VALUES ('sync', '{}')"
ADVANCE = """
UPDATE sink.partition_offset SET next_offset = %s WHERE partition = %s AND epoch = 1
"""


class OlderRunner(threading.Thread):
    """Applies the events of a partition, one per transaction, until a statement fails."""

    def __init__(self, dsn: str, partition: int) -> None:
        super().__init__()
        self.dsn, self.partition, self.applied = dsn, partition, 0
        self.error: psycopg.Error | None = None

    def run(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(CLAIM, (self.partition,))
            try:
                while True:
                    with connection.transaction():
                        connection.execute(WRITE, (self.partition, self.applied))
                        connection.execute(AUDIT)
                        connection.execute(ADVANCE, (self.applied + 1, self.partition))
                    self.applied += 1
            except psycopg.Error as error:
                self.error = error


class NewerRunner(threading.Thread):
    """Migrates, takes over a partition at its stored offset, and applies more events."""

    def __init__(self, dsn: str, partition: int) -> None:
        super().__init__()
        self.dsn, self.partition = dsn, partition

    def run(self) -> None:
        offsets = Offsets("orders", Topic("c", "t", "i"), "new")
        with connect(self.dsn, "test") as connection:
            migrate(connection)
            claim = offsets.claim(connection, [self.partition])[self.partition]
            first = claim.next_offset or 0
            for offset in range(first, first + MORE_EVENTS):
                step = Advance(self.partition, claim.epoch, offset, offset + 1)
                with connection.transaction():
                    connection.execute(WRITE, (self.partition, offset))
                    audit(connection, event_type="sync", source="a", target="b", table="t")
                    offsets.advance(connection, [step])


@pytest.fixture
def dsns(postgres) -> Iterator[tuple[str, str]]:
    """The DSNs of the writer and the administrator for a database with the older layout."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE rolling")
    with psycopg.connect(postgres.dsn("rolling"), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA sink AUTHORIZATION sink_writer")
        admin.execute(LAYOUT.read_bytes())
        admin.execute(
            "CREATE TABLE written (partition int, at int)"
        )  # without a key, to record repeated events
        admin.execute("GRANT INSERT ON written TO sink_writer")
    return postgres.dsn("rolling", "sink_writer"), postgres.dsn("rolling")


@contextmanager
def running(*threads: threading.Thread) -> Iterator[None]:
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)


def test_older_runners_stop_and_newer_ones_continue(dsns: tuple[str, str]) -> None:
    writer, owner = dsns
    older = [OlderRunner(writer, partition) for partition in (0, 1)]
    with running(*older):
        while min(one.applied for one in older) < 50:
            assert not any(one.error for one in older)
        with connect(writer, "test") as connection, pytest.raises(ConfigError) as caught:
            migrate(connection)
        before = [one.applied for one in older]
        while any(one.applied == count for one, count in zip(older, before, strict=True)):
            assert not any(
                one.error for one in older
            )  # the refused migration must not disturb them
        with psycopg.connect(owner, autocommit=True) as admin:
            for line in str(caught.value).splitlines():
                if line.startswith("  ALTER TABLE"):
                    admin.execute(line.encode())
        newer = [NewerRunner(writer, partition) for partition in (0, 1)]
        with running(*newer):
            pass
    assert [type(one.error) for one in older] == [psycopg.errors.UndefinedTable] * 2
    with psycopg.connect(owner) as admin:
        found = admin.execute(
            "SELECT partition, count(*), count(DISTINCT at), max(at) FROM written GROUP BY 1"
        ).fetchall()
        (audited,) = admin.execute("SELECT count(*) FROM sink.audit_log").fetchone()
    expected = [(one.partition, n := one.applied + MORE_EVENTS, n, n - 1) for one in older]
    assert sorted(found) == expected
    assert audited == sum(count for _, count, _, _ in found)
