"""Two mappings that feed each other: both ends are written at once, and end equal and at rest.

Each hop adds one to a column, so that an echo is never what is there already, as a trigger on
`updated_at` would see to: what is not kept from going back goes round for ever.
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

from .running import eventually, row, running

pytestmark = pytest.mark.stack
# A minute tells more than this, and CI has it.
SECONDS = float(os.environ.get("SINK_PING_PONG_SECONDS", "15"))
ROWS = 20
REST = 3.0  # seconds without a new record; a hop takes some hundredths of one
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
        on_truncate=OnTruncate.KEEP,  # each test begins with one
        columns=(
            Column("id", required=True),
            Column("v"),
            Column("hops", convert=lambda hops: hops + 1),
            Column("changed_at", required=True),
        ),
    )
"""
STROKE = """
INSERT INTO trap.ball AS b (id, v, hops, changed_at)
VALUES (%s, %s, 0, clock_timestamp() AT TIME ZONE 'UTC')
ON CONFLICT (id) DO UPDATE
SET v = excluded.v, hops = 0, changed_at = clock_timestamp() AT TIME ZONE 'UTC'
"""
APPLIED = "SELECT next_offset FROM sink.partition_offset WHERE topic = %s AND mapping = %s"


class Table:
    """Both halves, and the topics between them."""

    def __init__(self, stack: StackUnderTest, consumer: KafkaConsumer) -> None:
        self.stack = stack
        self._consumer = consumer
        self.halves = [stack.admin(name) for name in DATABASES]
        for half in self.halves:
            half.execute("GRANT USAGE ON SCHEMA trap TO sink_reader, sink_writer")
            half.execute("GRANT SELECT ON trap.ball TO sink_reader")
            half.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON trap.ball TO sink_writer")

    def rows(self, columns: str = "id, v, changed_at") -> list[list[tuple]]:
        query = f"SELECT {columns} FROM trap.ball ORDER BY id"
        return [half.execute(query.encode()).fetchall() for half in self.halves]

    def hops(self) -> int:
        return max(hops for half in self.rows("hops") for (hops,) in half)

    def ends(self) -> list[int]:
        partitions = [TopicPartition(topic, 0) for topic in TOPICS]
        found = self._consumer.end_offsets(partitions)
        return [found[one] for one in partitions]

    def applied(self) -> list[int]:
        found = [
            row(half, APPLIED, topic, name)
            for half, topic, name in zip(
                reversed(self.halves), TOPICS, ("ping", "pong"), strict=True
            )
        ]
        return [(one and one[0]) or 0 for one in found]

    def rests(self) -> bool:
        """All that was written has been applied, and nothing came of it."""
        ends = self.ends()
        if self.applied() != ends:
            return False
        time.sleep(REST)
        return self.ends() == ends == self.applied()

    def play(self, seconds: float) -> int:
        """Write both halves at once; return how many strokes there were."""
        until = time.monotonic() + seconds
        strokes = [0, 0]

        def player(number: int) -> None:
            drawn = random.Random(number)
            with self.stack.admin(DATABASES[number]) as mine:
                while time.monotonic() < until:
                    at = drawn.randrange(ROWS)
                    mine.execute(STROKE, (at, f"{number}/{strokes[number]}"))
                    strokes[number] += 1
                    time.sleep(drawn.random() / 50)

        players = [threading.Thread(target=player, args=(number,)) for number in (0, 1)]
        for one in players:
            one.start()
        for one in players:
            one.join()
        return sum(strokes)


@pytest.fixture
def table(stack: StackUnderTest) -> Iterator[Table]:
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka)
    made = Table(stack, consumer)
    for half in made.halves:
        half.execute("TRUNCATE trap.ball")
    yield made
    consumer.close()
    for half in made.halves:
        half.close()


@contextmanager
def playing(table: Table, folder: Path, *runners: str, guarded: bool = True) -> Iterator[None]:
    """Runners of these mappings, by default one of both."""
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
    with ExitStack() as stopping:
        for number, names in enumerate(runners or ("ping,pong",)):
            log, mappings = folder / f"log{number}", len(names.split(","))
            stopping.enter_context(running(environ, log, "--only", names, mappings=mappings))
        yield


def test_both_ends_end_equal_and_the_traffic_rests(table: Table, tmp_path: Path) -> None:
    """No change goes further than the other side."""
    with playing(table, tmp_path):
        assert table.play(SECONDS) > SECONDS * 10
        eventually(table.rests)
        one, other = table.rows()
        assert one == other
        assert len(one) == ROWS
        assert table.hops() == 1


def test_separate_runners_end_equal_too(table: Table, tmp_path: Path) -> None:
    with playing(table, tmp_path, "ping", "pong"):
        table.play(SECONDS / 5)
        eventually(table.rests)
        one, other = table.rows()
        assert one == other
        assert table.hops() == 1


def test_without_the_guard_it_goes_round(table: Table, tmp_path: Path) -> None:
    """What the guard is for: the same two mappings, and no writer but themselves."""
    with playing(table, tmp_path, guarded=False):
        table.play(2)
        before = sum(table.ends())
        eventually(lambda: table.hops() > 20)
        eventually(lambda: sum(table.ends()) > before)
        assert not table.rests()
