"""The two databases with history and load, and the runner as a process that can be killed."""

import itertools
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from kafka import KafkaConsumer, TopicPartition
from sink_stack import health, ports
from sink_stack.stack import sink_runner

from ..oracle.comparison import Difference
from ..oracle.targets import find_event_differences

TOPICS = (
    "smart_warehouse.public.golden_records",
    "smart_warehouse.public.profile_360",
    "smart_warehouse.eligibility.eligibility_snapshots",
    "smart_warehouse.forecast.benefit_forecasts",
    "smart_warehouse.decision.applications",
    "smart_warehouse.alerts.ml_alert_outbox",
    "smart_citizen.public.citizens",
    "smart_citizen.public.service_applications",
    "smart_citizen.public.documents",
)
"""What the runner reads."""
_CLIENTS = itertools.cycle(("librdkafka", "kafka-python"))
"""A runner may take over from one that reads with the other."""
_APPLIED = "SELECT topic, partition, coalesce(next_offset, 0) FROM sink.partition_offset"
# What waits for a row that it needs, or once did, is none.
_DEAD = """SELECT count(*) FROM sink.dead_letter WHERE status NOT IN ('PARKED', 'REPLAYED')
           AND NOT (status = 'SUPERSEDED' AND error_class = 'WaitingError')"""
# Each batch has its first and last offset in the audit log; what waited is applied later, alone.
_TWICE = """
WITH applied AS (
  SELECT details->>'mapping' AS mapping, details->>'topic' AS topic, partition::int AS partition,
    (bounds->>0)::int8 AS first, (bounds->>1)::int8 AS last
  FROM sink.audit_log, jsonb_each(details->'offsets') AS places (partition, bounds)
  WHERE event_type IN ('sync', 'mask')
), waited AS (SELECT flow, topic, partition, "offset" AS at FROM sink.dead_letter),
ordered AS (
  SELECT *, max(last) OVER (PARTITION BY mapping, topic, partition ORDER BY first, last
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
  FROM applied
  WHERE NOT ((mapping, topic, partition, first) IN (SELECT * FROM waited)
    AND (mapping, topic, partition, last) IN (SELECT * FROM waited))
)
SELECT concat_ws(' ', mapping, topic, partition, first, last) FROM ordered WHERE first <= reached
"""
_OWNED = """SELECT topic, partition, coalesce(next_offset, 0) FROM sink.partition_offset
            WHERE split_part(owner, ':', 2) = %s"""
_LETTERS = """SELECT dlq_id, flow, partition, "offset", status, error_class, error_message
              FROM sink.dead_letter ORDER BY dlq_id"""
_NUMBERS = "SELECT DISTINCT new->>'aadhaar_number' FROM history.change"
_BEAT = """INSERT INTO cdc.heartbeat (id, at) VALUES (1, now())
           ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
_NOW = "SELECT pg_current_wal_lsn()::text"
_PAST = """SELECT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database()
               AND slot_name LIKE 'sink%%' AND confirmed_flush_lsn >= %s::pg_lsn)"""
_PAUSE = 0.1
_WAITING_SECONDS = 20
_READY_SECONDS = 60
_SHOWN = 40
_TAIL = 2000
_SIGNIFICANT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """What a test of the running product looks at; both sessions are the administrator's."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    dsns: tuple[str, str]
    environment: Mapping[str, str]
    root: Path
    log: Path
    kafka: str
    """Where the tests ask Kafka; the runner may have another listener."""
    runs: list[tuple[str, datetime]] = field(default_factory=list)
    """The full batches: which target, and when."""

    @contextmanager
    def ready_runner(self, **environment: str) -> Iterator["Runner"]:
        """A runner that says at /readyz, on a port of its own, that every mapping runs."""
        port = ports.any_free(frozenset())
        mine = {**self.environment, **environment, "SINK_HEALTH_PORT": str(port)}
        with replace(self, environment=mine).runner() as runner:
            assert until(lambda: _is_ready(port) or not runner.running, _READY_SECONDS), self.tail()
            assert runner.running, self.tail()
            yield runner

    @contextmanager
    def runner(self) -> Iterator["Runner"]:
        """A runner from its installed command, dead when the block is left."""
        runner = Runner.start(self)
        try:
            yield runner
        finally:
            runner.kill()

    def progress(self) -> int:
        """How far all partitions were applied, as both targets hold it."""
        return sum(self.partitions().values())

    def tail(self) -> str:
        """The end of what the runners said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]

    def dead_letters(self) -> int:
        found = [connection.execute(_DEAD).fetchall() for connection in self._both()]
        return sum(count for ((count,),) in found)

    def applied_twice(self) -> list[str]:
        """Batches that hold an event of another batch: mapping, topic, partition and offsets."""
        return [
            batch for connection in self._both() for (batch,) in connection.execute(_TWICE.encode())
        ]

    def versions_that_migrated(self, number: int) -> set[str | None]:
        """Who applied this migration to the two databases; None where it was not applied."""
        query = "SELECT max(version) FROM sink.migration WHERE number = %s"
        return {row[0] for one in self._both() for row in one.execute(query, (number,))}

    def describe_dead_letters(self) -> list[str]:
        """Return a line for each dead letter, for the message of a test that fails."""
        return [
            " ".join(map(str, row))
            for connection in self._both()
            for row in connection.execute(_LETTERS)
        ]

    def differences(self) -> list[Difference]:
        return list(find_event_differences(self.warehouse, self.citizen, self.runs))

    def settle(self, seconds: float) -> list[Difference]:
        """The differences that are left once every change is applied, or the time is over.

        Equality alone is not enough: an event that is still to come may break it.
        """
        self.apply_all(seconds)
        return self.remaining_differences()

    def remaining_differences(self, seconds: float = _WAITING_SECONDS) -> list[Difference]:
        """The differences that are left once what waits for another row was tried again."""
        bound = time.monotonic() + seconds
        while (left := self.differences()) and time.monotonic() < bound:
            time.sleep(_PAUSE)
        return left

    def apply_all(self, seconds: float) -> None:
        """Wait until every change is applied, and none comes of it."""
        rested = self.seconds_to_rest(seconds) is not None
        assert rested, f"{self.waiting()} events were not applied in {seconds} s"

    def seconds_to_rest(self, seconds: float) -> float | None:
        """How long until every change was captured and applied, or None if it is too long.

        What is applied may become a change again: it is over when a look at the logs, begun
        while nothing waited, found nothing new.
        """
        began = time.monotonic()
        with closing(KafkaConsumer(bootstrap_servers=self.kafka)) as consumer:
            while time.monotonic() < began + seconds:
                ends = _ends(consumer)
                idle = self._behind(ends) == 0
                reached = time.monotonic()
                if not until(self._captured(), seconds):
                    return None
                if idle and _ends(consumer) == ends and self._behind(ends) == 0:
                    return reached - began
                time.sleep(_PAUSE)
        return None

    def _captured(self) -> Callable[[], bool]:
        """Whether both slots are past what was written until now."""
        reached = []
        for connection in self._both():
            reached.append((connection, *connection.execute(_NOW).fetchall()[0]))
            connection.execute(_BEAT)
        return lambda: all(
            connection.execute(_PAST, (at,)).fetchone() == (True,) for connection, at in reached
        )

    def waiting(self) -> int:
        """How many events Kafka holds that no target has applied."""
        return self._behind(self.ends())

    def _behind(self, ends: Mapping[tuple[str, int], int]) -> int:
        applied = self.partitions()
        return sum(end - applied.get(partition, 0) for partition, end in ends.items())

    def partitions(self) -> dict[tuple[str, int], int]:
        """How far each partition is applied; none if no runner was here yet."""
        return {
            (topic, partition): offset
            for connection in self._both()
            for topic, partition, offset in _applied(connection)
            if topic in TOPICS
        }

    def owned(self, runner: "Runner") -> dict[tuple[str, int], int]:
        """How far each partition is applied that this runner has claimed last."""
        return {
            (topic, partition): offset
            for connection in self._both()
            for topic, partition, offset in connection.execute(_OWNED, (str(runner.process.pid),))
        }

    def ends(self) -> dict[tuple[str, int], int]:
        with closing(KafkaConsumer(bootstrap_servers=self.kafka)) as consumer:
            return _ends(consumer)

    def numbers_in_the_log(self) -> int:
        """How many lines of the runners' log hold some citizen's Aadhaar number."""
        numbers = {str(number) for (number,) in self.citizen.execute(_NUMBERS) if number}
        numbers = {number for number in numbers if len(number) > _SIGNIFICANT}
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return sum(any(number in line for number in numbers) for line in lines)

    def _both(self) -> tuple[psycopg.Connection, psycopg.Connection]:
        return self.warehouse, self.citizen


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One process of `sink-runner run`; what it says is kept in the arena's log."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, arena: Arena) -> "Runner":
        command = sink_runner("run")
        environment = {**arena.environment, "SINK_KAFKA_CLIENT": next(_CLIENTS)}
        with arena.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=arena.root, env=environment, stdout=log, stderr=log
            )
        return cls(process=process)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float) -> int:
        """Ask it to end, and return its exit code; a runner that does not end is an error."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


def _ends(consumer: KafkaConsumer) -> dict[tuple[str, int], int]:
    partitions = [
        TopicPartition(topic, partition)
        for topic in TOPICS
        for partition in consumer.partitions_for_topic(topic)
    ]
    ends = consumer.end_offsets(partitions)
    return {(one.topic, one.partition): end for one, end in ends.items()}


def _applied(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(_APPLIED).fetchall()
    except psycopg.errors.UndefinedTable:
        return []


def _is_ready(port: int) -> bool:
    states = health.mapping_states(port) or {}
    return bool(states) and not health.not_running(states)


def until(fact: Callable[[], bool], seconds: float) -> bool:
    """Wait for something to become true."""
    bound = time.monotonic() + seconds
    while not (true := fact()) and time.monotonic() < bound:
        time.sleep(_PAUSE)
    return true


def describe_differences(left: list[Difference]) -> str:
    """Differences for a failed test: which rows and columns, no values."""
    lines = [f"{len(left)} differences", *map(str, left[:_SHOWN])]
    return "\n".join(lines)
