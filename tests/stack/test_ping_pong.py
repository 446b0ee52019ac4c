"""Two mappings in opposite directions: both tables are written at once and converge.

Each mapping adds one to `hops`, so that an echo is always a change. Without the echo guard, a
change would be copied back and forth for ever.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import fetch_row, run_runner

pytestmark = pytest.mark.stack
# CI runs for a minute.
SECONDS = float(os.environ.get("SINK_PING_PONG_SECONDS", "15"))
ROWS = 20
QUIET_SECONDS = 3.0  # a hop takes less than 0.1 s
DATABASES = ("smart_warehouse", "smart_citizen")
TOPICS = ("smart_warehouse.trap.ball", "smart_citizen.trap.ball")
PLUGIN = """
import os
import sink_runner.transform.compiled_mapping
import sink_runner.writer.echo_guard
from sink_runner.plugin import Column, Ignore, OnTruncate, TableMapping, hookimpl, newest_wins

if os.environ.get("PING_PONG_UNGUARDED"):
    sink_runner.transform.compiled_mapping._echoes = lambda *_: frozenset()
    sink_runner.writer.echo_guard.EchoGuard.__call__ = lambda *_: False


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="{source}",
        target="{target}",
        key=("id",),
        conflict=newest_wins("changed_at"),
        on_delete=Ignore(),
        on_truncate=OnTruncate.KEEP,  # each test starts with a TRUNCATE
        columns=(
            Column("id", required=True),
            Column("v"),
            Column("hops", convert=lambda hops: hops + 1),
            Column("changed_at", required=True),
        ),
    )
"""
UPSERT = """
INSERT INTO trap.ball AS b (id, v, hops, changed_at)
VALUES (%s, %s, 0, clock_timestamp() AT TIME ZONE 'UTC')
ON CONFLICT (id) DO UPDATE
SET v = excluded.v, hops = 0, changed_at = clock_timestamp() AT TIME ZONE 'UTC'
"""
APPLIED = "SELECT next_offset FROM sink.partition_offset WHERE topic = %s AND mapping = %s"


class TablePair:
    """The table in both databases, and the topics of its changes."""

    def __init__(self, stack: StackUnderTest, consumer: KafkaConsumer) -> None:
        self.stack = stack
        self._consumer = consumer
        self.connections = [stack.admin(name) for name in DATABASES]
        for connection in self.connections:
            connection.execute("GRANT USAGE ON SCHEMA trap TO sink_reader, sink_writer")
            connection.execute("GRANT SELECT ON trap.ball TO sink_reader")
            connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON trap.ball TO sink_writer")

    def rows(self, columns: str = "id, v, changed_at") -> list[list[tuple]]:
        query = f"SELECT {columns} FROM trap.ball ORDER BY id"
        return [connection.execute(query.encode()).fetchall() for connection in self.connections]

    def hops(self) -> int:
        return max(hops for connection in self.rows("hops") for (hops,) in connection)

    def log_ends(self) -> list[int]:
        partitions = [TopicPartition(topic, 0) for topic in TOPICS]
        found = self._consumer.end_offsets(partitions)
        return [found[one] for one in partitions]

    def applied_offsets(self) -> list[int]:
        found = [
            fetch_row(connection, APPLIED, topic, name)
            for connection, topic, name in zip(
                reversed(self.connections), TOPICS, ("ping", "pong"), strict=True
            )
        ]
        return [(one and one[0]) or 0 for one in found]

    def is_quiet(self) -> bool:
        """Whether every record is applied and no new one has appeared for QUIET_SECONDS."""
        ends = self.log_ends()
        if self.applied_offsets() != ends:
            return False
        time.sleep(QUIET_SECONDS)
        return self.log_ends() == ends == self.applied_offsets()

    def write_both(self, seconds: float) -> int:
        """Write to both databases concurrently; return the number of writes."""
        deadline = time.monotonic() + seconds
        writes = [0, 0]

        def write(number: int) -> None:
            rng = random.Random(number)
            with self.stack.admin(DATABASES[number]) as session:
                while time.monotonic() < deadline:
                    key = rng.randrange(ROWS)
                    session.execute(UPSERT, (key, f"{number}/{writes[number]}"))
                    writes[number] += 1
                    time.sleep(rng.random() / 50)

        writers = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        return sum(writes)


@pytest.fixture
def table(stack: StackUnderTest) -> Iterator[TablePair]:
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka)
    pair = TablePair(stack, consumer)
    for connection in pair.connections:
        connection.execute("TRUNCATE trap.ball")
    yield pair
    consumer.close()
    for connection in pair.connections:
        connection.close()


@contextmanager
def run_runners(
    table: TablePair, folder: Path, *runners: str, guarded: bool = True
) -> Iterator[None]:
    """Run a runner for each name list, by default one runner for both mappings."""
    site = folder / "site"
    for name, (source, target) in {"ping": TOPICS, "pong": TOPICS[::-1]}.items():
        info = site / f"sink_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sink-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sink_runner.v1]\n{name} = ball_{name}\n")
        (site / f"ball_{name}.py").write_text(PLUGIN.format(source=source, target=target))
    environ = {**table.stack.env, "PYTHONPATH": str(site)}
    if not guarded:
        environ["PING_PONG_UNGUARDED"] = "1"
    with ExitStack() as runner_stack:
        for number, names in enumerate(runners or ("ping,pong",)):
            log, mappings = folder / f"log{number}", len(names.split(","))
            runner_stack.enter_context(run_runner(environ, log, "--only", names, mappings=mappings))
        yield


def test_tables_converge_and_traffic_stops(table: TablePair, tmp_path: Path) -> None:
    """Each change is copied once, to the other table."""
    with run_runners(table, tmp_path):
        assert table.write_both(SECONDS) > SECONDS * 10
        eventually(table.is_quiet)
        one, other = table.rows()
        assert one == other
        assert len(one) == ROWS
        assert table.hops() == 1


def test_separate_runners_converge(table: TablePair, tmp_path: Path) -> None:
    with run_runners(table, tmp_path, "ping", "pong"):
        table.write_both(SECONDS / 5)
        eventually(table.is_quiet)
        one, other = table.rows()
        assert one == other
        assert table.hops() == 1


def test_changes_circulate_without_echo_guard(table: TablePair, tmp_path: Path) -> None:
    """With the guard disabled, the mappings keep copying without further writes."""
    with run_runners(table, tmp_path, guarded=False):
        table.write_both(2)
        before = sum(table.log_ends())
        eventually(lambda: table.hops() > 20)
        eventually(lambda: sum(table.log_ends()) > before)
        assert not table.is_quiet()
