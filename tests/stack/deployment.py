"""A deployment: both databases with their recorded history, and processes of the runner."""

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
"""The topics that the runner reads."""
_CLIENTS = itertools.cycle(("librdkafka", "kafka-python"))
"""Runners alternate between the clients, so that each takes over from the other."""
_STORED_OFFSETS = "SELECT topic, partition, coalesce(next_offset, 0) FROM sink.partition_offset"
# Deferred events, and dead letters that were superseded while deferred, do not count as failed.
_FAILED_DEAD_LETTERS = """SELECT count(*) FROM sink.dead_letter
           WHERE status NOT IN ('PARKED', 'REPLAYED')
           AND NOT (status = 'SUPERSEDED' AND error_class = 'WaitingError')"""
# The audit log has the first and last offset of each batch. A deferred event is applied later, in
# a batch of its own.
_REPEATED_BATCHES = """
WITH applied AS (
  SELECT details->>'mapping' AS mapping, details->>'topic' AS topic, partition::int AS partition,
    (bounds->>0)::int8 AS first, (bounds->>1)::int8 AS last
  FROM sink.audit_log, jsonb_each(details->'offsets') AS ranges (partition, bounds)
  WHERE event_type IN ('sync', 'mask')
), deferred AS (SELECT flow, topic, partition, "offset" AS at FROM sink.dead_letter),
ordered AS (
  SELECT *, max(last) OVER (PARTITION BY mapping, topic, partition ORDER BY first, last
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous_last
  FROM applied
  WHERE NOT ((mapping, topic, partition, first) IN (SELECT * FROM deferred)
    AND (mapping, topic, partition, last) IN (SELECT * FROM deferred))
)
SELECT concat_ws(' ', mapping, topic, partition, first, last) FROM ordered
WHERE first <= previous_last
"""
_OWNED_OFFSETS = """SELECT topic, partition, coalesce(next_offset, 0) FROM sink.partition_offset
            WHERE split_part(owner, ':', 2) = %s"""
_DEAD_LETTERS = """SELECT dlq_id, flow, partition, "offset", status, error_class, error_message
              FROM sink.dead_letter ORDER BY dlq_id"""
_AADHAAR_NUMBERS = "SELECT DISTINCT new->>'aadhaar_number' FROM history.change"
_HEARTBEAT = """INSERT INTO cdc.heartbeat (id, at) VALUES (1, now())
           ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
_CURRENT_LSN = "SELECT pg_current_wal_lsn()::text"
_SLOT_HAS_PASSED = """SELECT EXISTS (SELECT FROM pg_replication_slots
               WHERE database = current_database()
               AND slot_name LIKE 'sink%%' AND confirmed_flush_lsn >= %s::pg_lsn)"""
_PAUSE = 0.1
_DEFERRED_SECONDS = 20
_READY_SECONDS = 60
_MAX_DIFFERENCES = 40
_LOG_TAIL = 2000
_MIN_NUMBER_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Both databases, with sessions of the administrator, and the environment of the runners."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    dsns: tuple[str, str]
    environment: Mapping[str, str]
    root: Path
    log: Path
    kafka: str
    """The listener of the tests; runners may use another one."""
    runs: list[tuple[str, datetime]] = field(default_factory=list)
    """Target and time of each full batch."""

    @contextmanager
    def ready_runner(self, **environment: str) -> Iterator["Runner"]:
        """Run a runner with its own health port; enter the block once it is ready."""
        port = ports.any_free(frozenset())
        variables = {**self.environment, **environment, "SINK_HEALTH_PORT": str(port)}
        with replace(self, environment=variables).runner() as runner:
            assert wait_until(lambda: _is_ready(port) or not runner.running, _READY_SECONDS), (
                self.log_tail()
            )
            assert runner.running, self.log_tail()
            yield runner

    @contextmanager
    def runner(self) -> Iterator["Runner"]:
        """Run the installed command; kill it when the block is left."""
        runner = Runner.start(self)
        try:
            yield runner
        finally:
            runner.kill()

    def progress(self) -> int:
        """Return the sum of all stored offsets."""
        return sum(self.stored_offsets().values())

    def log_tail(self) -> str:
        """Return the end of the runners' log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]

    def count_dead_letters(self) -> int:
        counts = [
            connection.execute(_FAILED_DEAD_LETTERS).fetchall()
            for connection in self._connections()
        ]
        return sum(count for ((count,),) in counts)

    def repeated_batches(self) -> list[str]:
        """Return the batches that repeat an event of another batch."""
        return [
            batch
            for connection in self._connections()
            for (batch,) in connection.execute(_REPEATED_BATCHES.encode())
        ]

    def migrating_versions(self, number: int) -> set[str | None]:
        """Return the versions that applied this migration; None for a database without it."""
        query = "SELECT max(version) FROM sink.migration WHERE number = %s"
        return {row[0] for one in self._connections() for row in one.execute(query, (number,))}

    def describe_dead_letters(self) -> list[str]:
        """Return a line for each dead letter, for the message of a failed test."""
        return [
            " ".join(map(str, row))
            for connection in self._connections()
            for row in connection.execute(_DEAD_LETTERS)
        ]

    def differences(self) -> list[Difference]:
        return list(find_event_differences(self.warehouse, self.citizen, self.runs))

    def settle(self, seconds: float) -> list[Difference]:
        """Wait until every change is applied, and return the remaining differences.

        Equal rows are not enough: an event that is not applied yet may still change one.
        """
        self.apply_all(seconds)
        return self.remaining_differences()

    def remaining_differences(self, seconds: float = _DEFERRED_SECONDS) -> list[Difference]:
        """Return the differences that remain after deferred events were retried."""
        deadline = time.monotonic() + seconds
        while (remaining := self.differences()) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return remaining

    def apply_all(self, seconds: float) -> None:
        """Wait until every change is applied and causes no further change."""
        is_done = self.seconds_to_apply_all(seconds) is not None
        assert is_done, f"{self.lag()} events were not applied in {seconds} s"

    def seconds_to_apply_all(self, seconds: float) -> float | None:
        """Return the seconds until every change was captured and applied, or None after `seconds`.

        An applied change may cause another one. All are applied when both logs, read while no
        event was unapplied, have no new record.
        """
        began = time.monotonic()
        with closing(KafkaConsumer(bootstrap_servers=self.kafka)) as consumer:
            while time.monotonic() < began + seconds:
                ends = _ends(consumer)
                is_idle = self._lag(ends) == 0
                idle_at = time.monotonic()
                if not wait_until(self._capture_condition(), seconds):
                    return None
                if is_idle and _ends(consumer) == ends and self._lag(ends) == 0:
                    return idle_at - began
                time.sleep(_PAUSE)
        return None

    def _capture_condition(self) -> Callable[[], bool]:
        """Return a condition that holds once both replication slots have passed the current LSN."""
        positions = []
        for connection in self._connections():
            positions.append((connection, *connection.execute(_CURRENT_LSN).fetchall()[0]))
            connection.execute(_HEARTBEAT)
        return lambda: all(
            connection.execute(_SLOT_HAS_PASSED, (at,)).fetchone() == (True,)
            for connection, at in positions
        )

    def lag(self) -> int:
        """Return the number of events in Kafka that no target has applied."""
        return self._lag(self.log_ends())

    def _lag(self, ends: Mapping[tuple[str, int], int]) -> int:
        applied = self.stored_offsets()
        return sum(end - applied.get(partition, 0) for partition, end in ends.items())

    def stored_offsets(self) -> dict[tuple[str, int], int]:
        """Return the stored offset of each partition; empty before the first run."""
        return {
            (topic, partition): offset
            for connection in self._connections()
            for topic, partition, offset in _read_offsets(connection)
            if topic in TOPICS
        }

    def owned_offsets(self, runner: "Runner") -> dict[tuple[str, int], int]:
        """Return the stored offset of each partition that this runner owns."""
        return {
            (topic, partition): offset
            for connection in self._connections()
            for topic, partition, offset in connection.execute(
                _OWNED_OFFSETS, (str(runner.process.pid),)
            )
        }

    def log_ends(self) -> dict[tuple[str, int], int]:
        with closing(KafkaConsumer(bootstrap_servers=self.kafka)) as consumer:
            return _ends(consumer)

    def logged_numbers(self) -> int:
        """Return the number of log lines that contain a citizen's Aadhaar number."""
        numbers = {str(number) for (number,) in self.citizen.execute(_AADHAAR_NUMBERS) if number}
        numbers = {number for number in numbers if len(number) > _MIN_NUMBER_LENGTH}
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return sum(any(number in line for number in numbers) for line in lines)

    def _connections(self) -> tuple[psycopg.Connection, psycopg.Connection]:
        return self.warehouse, self.citizen


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A process of `sink-runner run`, which writes to the deployment's log."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, deployment: Deployment) -> "Runner":
        command = sink_runner("run")
        environment = {**deployment.environment, "SINK_KAFKA_CLIENT": next(_CLIENTS)}
        with deployment.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=deployment.root, env=environment, stdout=log, stderr=log
            )
        return cls(process=process)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the process, as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float) -> int:
        """Stop the process by SIGTERM and return its exit code; fail after `seconds`."""
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


def _read_offsets(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(_STORED_OFFSETS).fetchall()
    except psycopg.errors.UndefinedTable:
        return []


def _is_ready(port: int) -> bool:
    states = health.mapping_states(port) or {}
    return bool(states) and not health.not_running(states)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition is true; return whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return holds


def describe_differences(differences: list[Difference]) -> str:
    """Return the rows and columns that differ, without values, for a failed test."""
    lines = [f"{len(differences)} differences", *map(str, differences[:_MAX_DIFFERENCES])]
    return "\n".join(lines)
