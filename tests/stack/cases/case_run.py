"""Runs all cases on one stack: their tables, topics and plugins, one runner, and their steps."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from kafka import KafkaConsumer, TopicPartition
from sink_stack import ports
from sink_stack.settings import Settings
from sink_stack.stack import Options
from sink_stack.testing_stack import StackUnderTest
from sink_stack.topics import Topic

from ...support.type_values import EXTENSION_NAMES
from ...support.waits import eventually
from ..runner_process import ROOT, RunnerProcess, start_runner
from .model import SOURCE, TARGET, Case

_STEP_SECONDS = 30.0
_PAUSE = 0.2
_FINAL_STATES = ("running", "quarantined", "stopped", "paused")
_STORED_OFFSETS = "SELECT mapping, topic, sum(next_offset) FROM sink.partition_offset GROUP BY 1, 2"
_DEAD_LETTERS = """SELECT error_message FROM sink.dead_letter
              WHERE flow = %s AND status IN ('OPEN', 'PARKED') ORDER BY dlq_id"""
_HEARTBEAT = """INSERT INTO cdc.heartbeat (id, at) VALUES (1, now())
           ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
_CURRENT_LSN = "SELECT pg_current_wal_lsn()::text"
_SLOT_HAS_PASSED = """SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots
           WHERE slot_name = 'sink_warehouse'"""


def stack_options(cases: Sequence[Case]) -> Options:
    """Return the options with which the stack captures the tables of the cases."""
    tables = [f"{case.schema}.{table.strip(chr(34))}" for case in cases for table in case.tables]
    return Options(
        extra_tables={"warehouse": [table.replace("$", "[$]") for table in tables]},
        extra_topics=[
            Topic(name=name, key=["id"], partitions=partitions, retention_days=1)
            for case in cases
            for name, partitions in case.topics().items()
        ],
        prepare=lambda settings: _create_schemas(settings, cases),
    )


def _create_schemas(settings: Settings, cases: Sequence[Case]) -> None:
    """Create the schema in both databases; later starts of the stack find it and do nothing."""
    for database in (SOURCE, TARGET):
        with psycopg.connect(settings.admin_dsn(database)) as connection:
            schema = cases[0].schema
            found = connection.execute("SELECT to_regnamespace(%s)", [schema]).fetchone()
            if found == (None,):
                _create_tables(connection, database, cases)


def _create_tables(
    connection: psycopg.Connection[Any], database: str, cases: Sequence[Case]
) -> None:
    schema = cases[0].schema
    connection.execute(f"CREATE SCHEMA {schema}".encode())
    connection.execute(b"CREATE SCHEMA IF NOT EXISTS extras")
    for extension in EXTENSION_NAMES:
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA extras".encode())
    for case in cases:
        for statement in case.source if database == SOURCE else case.target:
            connection.execute(statement.encode())
        if database == SOURCE:
            for table in case.tables:
                name = f"{case.schema}.{table}"
                connection.execute(f"ALTER PUBLICATION sink_publication ADD TABLE {name}".encode())
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema}, extras TO sink_capture, sink_reader, sink_writer",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO sink_capture, sink_reader",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO sink_writer",
    ):
        connection.execute(statement.encode())


def install_plugins(site: Path, cases: Sequence[Case]) -> None:
    """Install the plugins of the cases into the folder `site`, for PYTHONPATH."""
    for case in cases:
        for name, code in case.mappings.items():
            module = f"case_{name.replace('-', '_')}"
            info = site / f"sink_{module}-1.0.dist-info"
            info.mkdir(parents=True)
            metadata = f"Metadata-Version: 2.1\nName: sink-{name}-case\nVersion: 1.0\n"
            (info / "METADATA").write_text(metadata)
            (info / "entry_points.txt").write_text(f"[sink_runner.v1]\n{name} = {module}\n")
            (site / f"{module}.py").write_text(code)


def write_config(folder: Path, cases: Sequence[Case]) -> Path:
    """Write the repository's configuration with only the plugins of the cases enabled."""
    names = json.dumps([name for case in cases for name in case.mappings])
    text = (ROOT / "sink-runner.toml").read_text()
    assert 'enabled = ["*"]' in text
    text = text.replace('enabled = ["*"]', f"enabled = {names}")
    path = folder / "sink-runner.toml"
    path.write_text(text.replace("retry_seconds = 2.0", "retry_seconds = 0.5"))
    with path.open("a") as file:
        file.write("\n[schema]\nstrict = false\n")  # some column names look personal
    (folder / "ranger-policies").symlink_to(ROOT / "ranger-policies")
    return path


@dataclass(slots=True, kw_only=True)
class CaseRun:
    """A run of all cases: its runner and databases, and what the steps left in them."""

    stack: StackUnderTest
    cases: Sequence[Case]
    runner: RunnerProcess
    health: str
    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    late_steps: dict[str, str] = field(default_factory=dict)
    """By mapping: the first step whose events it did not apply in time."""
    differences_before: dict[str, list[str]] = field(default_factory=dict)
    """By case: the differences just before its statements for the target ran."""

    def states(self) -> Mapping[str, Mapping[str, str]]:
        """Return state and reason of each mapping, as the runner reports them."""
        try:
            with urllib.request.urlopen(f"{self.health}/readyz", timeout=10) as response:
                return dict(json.load(response)["mappings"])
        except urllib.error.HTTPError as response:
            with response:
                return dict(json.load(response)["mappings"])

    def run_steps(self) -> None:
        """Run all steps; each step of all cases is applied before the next begins."""
        names = {name for case in self.cases for name in case.mappings}
        eventually(lambda: self._are_started(names), 120)
        for number in range(max(len(case.steps) for case in self.cases)):
            for case in self.cases:
                if statements := case.between.get(number, ()):
                    self.differences_before[case.name] = self.differences(case)
                for statement in statements:
                    self.target.execute(statement.encode())
            for case in self.cases:
                for step in case.steps[number : number + 1]:
                    for statement in step:
                        self.source.execute(statement.encode())
            self._wait_for_step(number)

    def _are_started(self, names: set[str]) -> bool:
        assert self.runner.process.poll() is None, self.runner.log.read_text()[-4000:]
        try:
            states = self.states()
        except OSError:
            return False
        return all(states.get(name, {}).get("state") in _FINAL_STATES for name in names)

    def _wait_for_step(self, number: int) -> None:
        """Wait until Debezium has captured the step and all running mappings have applied it."""
        (lsn,) = self.source.execute(_CURRENT_LSN).fetchone() or ("",)
        self.source.execute(_HEARTBEAT)
        eventually(lambda: self.source.execute(_SLOT_HAS_PASSED, [lsn]).fetchone() == (True,))
        deadline = time.monotonic() + _STEP_SECONDS
        while (lagging := self._lagging_mappings()) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        self.late_steps |= {
            name: f"step {number}" for name in lagging if name not in self.late_steps
        }

    def _lagging_mappings(self) -> set[str]:
        states = self.states()
        ends = self._ends()
        applied = {
            (name, topic): offset
            for name, topic, offset in self.target.execute(_STORED_OFFSETS.encode()).fetchall()
        }
        return {
            name
            for name, topics in self._topics_by_mapping().items()
            if states[name]["state"] == "running" and name not in self.late_steps
            for topic in topics
            if (applied.get((name, topic)) or 0) < ends[topic]
        }

    def _topics_by_mapping(self) -> dict[str, list[str]]:
        """Return the topic of each mapping; a case lists both in the same order."""
        topics_by_mapping = {}
        for case in self.cases:
            topics = list(case.topics())
            for name, topic in zip(case.mappings, topics, strict=True):
                topics_by_mapping[name] = [topic]
        return topics_by_mapping

    def _ends(self) -> dict[str, int]:
        consumer = KafkaConsumer(bootstrap_servers=self.stack.kafka)
        try:
            partitions = [
                TopicPartition(topic, number)
                for case in self.cases
                for topic, count in case.topics().items()
                for number in range(count)
            ]
            ends = consumer.end_offsets(partitions)
        finally:
            consumer.close()
        end_by_topic: dict[str, int] = {}
        for partition, end in ends.items():
            end_by_topic[partition.topic] = end_by_topic.get(partition.topic, 0) + end
        return end_by_topic

    def differences(self, case: Case) -> list[str]:
        """Return each differing cell of a case's rows, as `key column: source -> target`."""
        differences = []
        cursors = [one.execute(case.show.encode()) for one in (self.source, self.target)]
        names = [column.name for column in cursors[0].description or ()]
        source, target = ({row[0]: row for row in one.fetchall()} for one in cursors)
        for key in sorted(source.keys() | target.keys()):
            if key not in source or key not in target:
                database = "source" if key in source else "target"
                differences.append(f"row {key} is only in the {database}")
                continue
            cells = zip(names, source[key], target[key], strict=True)
            differences += [f"{key} {name}: {a!r} -> {b!r}" for name, a, b in cells if a != b]
        return differences

    def dead_letters(self, case: Case) -> list[str]:
        """Return the messages of a case's open and deferred dead letters."""
        return [
            message
            for name in case.mappings
            for (message,) in self.target.execute(_DEAD_LETTERS, [name]).fetchall()
        ]


@contextmanager
def run_cases(stack: StackUnderTest, cases: Sequence[Case], folder: Path) -> Iterator[CaseRun]:
    """Create tables and plugins, run all steps, and enter the block while the runner still runs."""
    capturing_stack = stack.capturing(stack_options(cases))
    capturing_stack.revive()
    site = folder / "site"
    install_plugins(site, cases)
    port = ports.any_free(frozenset())
    environ = {**capturing_stack.env, "PYTHONPATH": str(site), "SINK_HEALTH_PORT": str(port)}
    runner = start_runner(environ, folder / "log", config=write_config(folder, cases))
    try:
        with capturing_stack.admin(SOURCE) as source, capturing_stack.admin(TARGET) as target:
            case_run = CaseRun(
                stack=capturing_stack,
                cases=cases,
                runner=runner,
                health=f"http://127.0.0.1:{port}",
                source=source,
                target=target,
            )
            case_run.run_steps()
            yield case_run
    finally:
        runner.stop()
        stack.revive()
