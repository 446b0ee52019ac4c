"""All cases on one stack: tables, topics, plugins, one runner, and steps side by side."""

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
from ..running import ROOT, Runner, eventually, start
from .model import SOURCE, TARGET, Case

_STEP_SECONDS = 30.0
_PAUSE = 0.2
_SETTLED = ("running", "quarantined", "stopped", "paused")
_APPLIED = "SELECT mapping, topic, sum(next_offset) FROM sink.partition_offset GROUP BY 1, 2"
_DEAD_LETTERS = """SELECT error_message FROM sink.dead_letter
              WHERE flow = %s AND status IN ('OPEN', 'PARKED') ORDER BY dlq_id"""
_BEAT = """INSERT INTO cdc.heartbeat (id, at) VALUES (1, now())
           ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
_NOW = "SELECT pg_current_wal_lsn()::text"
_PAST = """SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots
           WHERE slot_name = 'sink_warehouse'"""


def capture(cases: Sequence[Case]) -> Options:
    """What the stack has to know of the cases."""
    tables = [f"{case.schema}.{table.strip(chr(34))}" for case in cases for table in case.tables]
    return Options(
        extra_tables={"warehouse": [table.replace("$", "[$]") for table in tables]},
        extra_topics=[
            Topic(name=name, key=["id"], partitions=partitions, retention_days=1)
            for case in cases
            for name, partitions in case.topics().items()
        ],
        prepare=lambda settings: _prepare(settings, cases),
    )


def _prepare(settings: Settings, cases: Sequence[Case]) -> None:
    """Also called by every later start: the schema then exists."""
    for database in (SOURCE, TARGET):
        with psycopg.connect(settings.admin_dsn(database)) as connection:
            schema = cases[0].schema
            found = connection.execute("SELECT to_regnamespace(%s)", [schema]).fetchone()
            if found == (None,):
                _create(connection, database, cases)


def _create(connection: psycopg.Connection[Any], database: str, cases: Sequence[Case]) -> None:
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


def install(site: Path, cases: Sequence[Case]) -> None:
    """Put the plugins where a Python that has `site` on its path finds them installed."""
    for case in cases:
        for name, code in case.mappings.items():
            module = f"case_{name.replace('-', '_')}"
            info = site / f"sink_{module}-1.0.dist-info"
            info.mkdir(parents=True)
            metadata = f"Metadata-Version: 2.1\nName: sink-{name}-case\nVersion: 1.0\n"
            (info / "METADATA").write_text(metadata)
            (info / "entry_points.txt").write_text(f"[sink_runner.v1]\n{name} = {module}\n")
            (site / f"{module}.py").write_text(code)


def configure(folder: Path, cases: Sequence[Case]) -> Path:
    """The repository's configuration, with the plugins of the cases alone."""
    names = json.dumps([name for case in cases for name in case.mappings])
    text = (ROOT / "sink-runner.toml").read_text()
    assert 'enabled = ["*"]' in text
    text = text.replace('enabled = ["*"]', f"enabled = {names}")
    path = folder / "sink-runner.toml"
    path.write_text(text.replace("retry_seconds = 2.0", "retry_seconds = 0.5"))
    with path.open("a") as file:
        file.write("\n[schema]\nstrict = false\n")  # names of columns that only look personal
    (folder / "ranger-policies").symlink_to(ROOT / "ranger-policies")
    return path


@dataclass(slots=True, kw_only=True)
class Ground:
    """The cases while they are played, and what there is to look at afterwards."""

    stack: StackUnderTest
    cases: Sequence[Case]
    runner: Runner
    health: str
    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    late: dict[str, str] = field(default_factory=dict)
    """Which mapping had not applied its events in time, and in which step."""
    wrong_before: dict[str, list[str]] = field(default_factory=dict)
    """By case: the differences before statements ran on its target."""

    def states(self) -> Mapping[str, Mapping[str, str]]:
        """State and reason of each mapping, as the runner reports them."""
        try:
            with urllib.request.urlopen(f"{self.health}/readyz", timeout=10) as answer:
                return dict(json.load(answer)["mappings"])
        except urllib.error.HTTPError as answer:
            with answer:
                return dict(json.load(answer)["mappings"])

    def play(self) -> None:
        """Run all steps; each step of all cases is applied before the next begins."""
        names = {name for case in self.cases for name in case.mappings}
        eventually(lambda: self._started(names), 120)
        for number in range(max(len(case.steps) for case in self.cases)):
            for case in self.cases:
                if statements := case.between.get(number, ()):
                    self.wrong_before[case.name] = self.wrong(case)
                for statement in statements:
                    self.target.execute(statement.encode())
            for case in self.cases:
                for step in case.steps[number : number + 1]:
                    for statement in step:
                        self.source.execute(statement.encode())
            self._wait(number)

    def _started(self, names: set[str]) -> bool:
        assert self.runner.process.poll() is None, self.runner.log.read_text()[-4000:]
        try:
            states = self.states()
        except OSError:
            return False
        return all(states.get(name, {}).get("state") in _SETTLED for name in names)

    def _wait(self, number: int) -> None:
        """Until everything is captured and all mappings that run have applied it."""
        (reached,) = self.source.execute(_NOW).fetchone() or ("",)
        self.source.execute(_BEAT)
        eventually(lambda: self.source.execute(_PAST, [reached]).fetchone() == (True,))
        bound = time.monotonic() + _STEP_SECONDS
        while (lagging := self._lagging()) and time.monotonic() < bound:
            time.sleep(_PAUSE)
        self.late |= {name: f"step {number}" for name in lagging if name not in self.late}

    def _lagging(self) -> set[str]:
        states = self.states()
        ends = self._ends()
        applied = {
            (name, topic): offset
            for name, topic, offset in self.target.execute(_APPLIED.encode()).fetchall()
        }
        return {
            name
            for name, topics in self._reads().items()
            if states[name]["state"] == "running" and name not in self.late
            for topic in topics
            if (applied.get((name, topic)) or 0) < ends[topic]
        }

    def _reads(self) -> dict[str, list[str]]:
        """The topic of each mapping: where a case has several, they go in the same order."""
        found = {}
        for case in self.cases:
            topics = list(case.topics())
            for name, topic in zip(case.mappings, topics, strict=True):
                found[name] = [topic]
        return found

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
        found: dict[str, int] = {}
        for partition, end in ends.items():
            found[partition.topic] = found.get(partition.topic, 0) + end
        return found

    def wrong(self, case: Case) -> list[str]:
        """Each cell of a case's rows that differs, as `row column: source -> target`."""
        wrong = []
        cursors = [one.execute(case.show.encode()) for one in (self.source, self.target)]
        names = [column.name for column in cursors[0].description or ()]
        source, target = ({row[0]: row for row in one.fetchall()} for one in cursors)
        for key in sorted(source.keys() | target.keys()):
            if key not in source or key not in target:
                wrong.append(f"row {key} is only in the {'source' if key in source else 'target'}")
                continue
            cells = zip(names, source[key], target[key], strict=True)
            wrong += [f"{key} {name}: {a!r} -> {b!r}" for name, a, b in cells if a != b]
        return wrong

    def dead_letters(self, case: Case) -> list[str]:
        """The messages of a case's dead letters that are not settled."""
        return [
            message
            for name in case.mappings
            for (message,) in self.target.execute(_DEAD_LETTERS, [name]).fetchall()
        ]


@contextmanager
def playing(stack: StackUnderTest, cases: Sequence[Case], folder: Path) -> Iterator[Ground]:
    """Make everything, play all steps, and leave the runner at work for who looks."""
    capturing = stack.capturing(capture(cases))
    capturing.revive()
    site = folder / "site"
    install(site, cases)
    port = ports.any_free(frozenset())
    environ = {**capturing.env, "PYTHONPATH": str(site), "SINK_HEALTH_PORT": str(port)}
    runner = start(environ, folder / "log", config=configure(folder, cases))
    try:
        with capturing.admin(SOURCE) as source, capturing.admin(TARGET) as target:
            ground = Ground(
                stack=capturing,
                cases=cases,
                runner=runner,
                health=f"http://127.0.0.1:{port}",
                source=source,
                target=target,
            )
            ground.play()
            yield ground
    finally:
        runner.stop()
        stack.revive()
