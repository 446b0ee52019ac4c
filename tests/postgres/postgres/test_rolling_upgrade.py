"""Runners of an older version write while a newer one migrates: nothing is lost or doubled.

The older ones are their statements, on the tables that they knew; the newer ones are the real code.
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
LAST = 400
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
    """Applies a partition, an event a transaction, until it can't any more."""

    def __init__(self, dsn: str, partition: int) -> None:
        super().__init__()
        self.dsn, self.partition, self.reached = dsn, partition, 0
        self.fault: psycopg.Error | None = None

    def run(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(CLAIM, (self.partition,))
            try:
                while True:
                    with connection.transaction():
                        connection.execute(WRITE, (self.partition, self.reached))
                        connection.execute(AUDIT)
                        connection.execute(ADVANCE, (self.reached + 1, self.partition))
                    self.reached += 1
            except psycopg.Error as fault:
                self.fault = fault


class NewerRunner(threading.Thread):
    """Migrates, takes a partition over where it stands, and applies it up to LAST events more."""

    def __init__(self, dsn: str, partition: int) -> None:
        super().__init__()
        self.dsn, self.partition = dsn, partition

    def run(self) -> None:
        offsets = Offsets("orders", Topic("c", "t", "i"), "new")
        with connect(self.dsn, "test") as connection:
            migrate(connection)
            claim = offsets.claim(connection, [self.partition])[self.partition]
            first = claim.next_offset or 0
            for at in range(first, first + LAST):
                step = Advance(self.partition, claim.epoch, at, at + 1)
                with connection.transaction():
                    connection.execute(WRITE, (self.partition, at))
                    audit(connection, event_type="sync", source="a", target="b", table="t")
                    offsets.advance(connection, [step])


@pytest.fixture
def dsns(postgres) -> Iterator[tuple[str, str]]:
    """The writer's and the administrator's way to a database of the older layout."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE rolling")
    with psycopg.connect(postgres.dsn("rolling"), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA sink AUTHORIZATION sink_writer")
        admin.execute(LAYOUT.read_bytes())
        admin.execute("CREATE TABLE written (partition int, at int)")  # takes an event twice
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
        while min(one.reached for one in older) < 50:
            assert not any(one.fault for one in older)
        with connect(writer, "test") as connection, pytest.raises(ConfigError) as refused:
            migrate(connection)
        reached = [one.reached for one in older]
        while any(one.reached == at for one, at in zip(older, reached, strict=True)):
            assert not any(one.fault for one in older)  # a refusal leaves them alone
        with psycopg.connect(owner, autocommit=True) as admin:
            for line in str(refused.value).splitlines():
                if line.startswith("  ALTER TABLE"):
                    admin.execute(line.encode())
        newer = [NewerRunner(writer, partition) for partition in (0, 1)]
        with running(*newer):
            pass
    assert [type(one.fault) for one in older] == [psycopg.errors.UndefinedTable] * 2
    with psycopg.connect(owner) as admin:
        found = admin.execute(
            "SELECT partition, count(*), count(DISTINCT at), max(at) FROM written GROUP BY 1"
        ).fetchall()
        (audited,) = admin.execute("SELECT count(*) FROM sink.audit_log").fetchone()
    expected = [(one.partition, n := one.reached + LAST, n, n - 1) for one in older]
    assert sorted(found) == expected
    assert audited == sum(count for _, count, _, _ in found)
