"""Workers on a real database and a simulated Kafka, with failures that a test injects."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

import pytest

from sink_runner.control.store import Wanted
from sink_runner.dlq import retry_queue
from sink_runner.dlq.retry_queue import RetryQueue
from sink_runner.errors import DecodeError, EventError, RetriableError
from sink_runner.kafka.feed import Bounds
from sink_runner.kafka.liveness import BrokerLiveness
from sink_runner.kafka.offset_queries import EpochEnd
from sink_runner.kafka.topic_identity import TopicWatch
from sink_runner.loading.discovery import new_manager
from sink_runner.loading.hooks import Hooks
from sink_runner.model.changes import Change, Removal
from sink_runner.model.envelope import Decoded, Kind
from sink_runner.model.message import NO_LEADER_EPOCH, Message
from sink_runner.model.partition import Topic
from sink_runner.model.status import Health
from sink_runner.pipeline import Pipeline
from sink_runner.plugin import Column, Delete, Event, Lookup, hookimpl
from sink_runner.retry import RetryPolicy
from sink_runner.runtime.reporter import NO_OBSERVERS, Observers
from sink_runner.runtime.worker import Worker
from sink_runner.runtime.worker_settings import WorkerSettings
from sink_runner.testing import NOW
from sink_runner.transform.compiled_mapping import CompiledMapping
from sink_runner.transform.event_source import EventSource
from sink_runner.transform.incoming import Shape
from sink_runner.transform.lookups import Lookups
from sink_runner.transform.route import Route
from sink_runner.transform.row_plan import SourceColumn
from sink_runner.transform.steps import Chain
from sink_runner.writer.committer import Committer
from sink_runner.writer.dead_letters import DeadLetters
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets
from sink_runner.writer.target_session import TargetSession

ENCRYPTOR = Encryptor(b"k" * 32, "k")
HEADER = b"\0\0\0\0\1"
# Every attempt to write a row adds an audit row, even if the write changes nothing.
AUDIT = """
CREATE TABLE {schema}.audit (id int);
CREATE FUNCTION {schema}.audit() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN INSERT INTO {schema}.audit VALUES (new.id); RETURN new; END $$;
CREATE TRIGGER audit BEFORE INSERT ON {schema}.t
FOR EACH ROW EXECUTE FUNCTION {schema}.audit();
"""


def no_jitter(seconds: float) -> float:
    return seconds


class Broker:
    """A simulated Kafka: a partitioned log, and a consumer group that `assign` rebalances."""

    def __init__(self, partitions: int = 1) -> None:
        self.logs: dict[int, list[Message]] = {p: [] for p in range(partitions)}
        self.committed: dict[int, int] = {}
        self.log_starts: dict[int, int] = {}
        """The first offset of a partition, where its log starts before its first record."""
        self.assignments: dict[str, set[int]] = defaultdict(set)
        self.generation = 0
        self.polls_with_records = 0
        self.is_down = False

    def send(
        self,
        partition: int,
        value: bytes | int,
        offset: int | None = None,
        *,
        key: bytes | None = None,
        need: str = "",
        leader_epoch: int = NO_LEADER_EPOCH,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        log = self.logs[partition]
        next_offset = offset if offset is not None else (log[-1].offset + 1 if log else 0)
        row = {"id": value, "need": need} if isinstance(value, int) else None
        body = HEADER + json.dumps(row).encode() if row else value
        log.append(Message("topic", partition, next_offset, key, body, headers, leader_epoch))

    def assign(self, **assignments: set[int]) -> None:
        self.assignments = defaultdict(set, assignments)
        self.generation += 1


class Consumer:
    """A member of the consumer group, with the interface of a feed."""

    def __init__(self, broker: Broker, name: str, max_records: int) -> None:
        self.broker, self.name, self.max_records = broker, name, max_records
        self.generation = -1
        self.positions: dict[int, int] = {}
        self.seeks: list[tuple[int, int | None]] = []

    def _join(self) -> None:
        if self.generation != self.broker.generation:
            self.generation = self.broker.generation
            committed = self.broker.committed
            self.positions = {p: committed.get(p, 0) for p in self.broker.assignments[self.name]}

    def poll(self, seconds: float) -> dict[int, list[Message]]:
        self._join()
        found = {}
        for partition, position in self.positions.items():
            part = [m for m in self.broker.logs[partition] if m.offset >= position][
                : self.max_records
            ]
            if part:
                found[partition] = part
                self.positions[partition] = part[-1].offset + 1
        self.broker.polls_with_records += bool(found)
        if not found:
            time.sleep(min(seconds, 0.01))
        return found

    def keep_alive(self) -> None:
        self._join()

    def assignment(self) -> set[int]:
        return set(self.positions)

    def seek(self, partition: int, offset: int | None) -> None:
        if partition not in self.positions:
            raise ValueError("Unassigned partition")
        self.seeks.append((partition, offset))
        self.positions[partition] = self.bounds(partition).first if offset is None else offset

    def bounds(self, partition: int) -> Bounds:
        log = self.broker.logs[partition]
        first = self.broker.log_starts.get(partition, log[0].offset if log else 0)
        return Bounds(first, log[-1].offset + 1 if log else first)

    def ping(self) -> None:
        if self.broker.is_down:
            raise RetriableError("Kafka does not answer")

    def mirror(self, offsets: dict[int, int]) -> None:
        self.broker.committed.update(offsets)

    def close(self) -> None:
        self.positions = {}


class Decoder:
    """Decodes the JSON messages of these tests."""

    def __init__(self, columns: list[str], committed_ms: int) -> None:
        self.columns, self.committed_ms = columns, committed_ms

    def decode(self, messages: list[Message]) -> list[Decoded | DecodeError | None]:
        return [None if one.value is None else self._decode(one.value) for one in messages]

    def _decode(self, value: bytes) -> Decoded | DecodeError:
        try:
            found = json.loads(value[5:])
            row = tuple(found[name] for name in self.columns)
        except ValueError:
            return DecodeError("not a message of these tests")
        return Decoded("c", row, None, 1, self.committed_ms, None, None)


def unbounded_epoch(_partition: int, leader_epoch: int) -> EpochEnd:
    """Return that no leader epoch has ended, so that no record was lost."""
    return EpochEnd(leader_epoch, 1 << 62)


class HookedWriter:
    """The real writer, which calls `before_commit` after each write; it may raise an error."""

    def __init__(self, writer: Any, before_commit: Callable[[list[Change]], None]) -> None:
        self.writer, self.before_commit = writer, before_commit
        self.state, self.unique = writer.state, writer.unique

    def prepare(self, connection: Any) -> None:
        self.writer.prepare(connection)

    def expire(self, connection: Any, now: Any) -> int:
        return self.writer.expire(connection, now)

    def write(self, connection: Any, changes: list[Change], now: Any) -> int:
        written = self.writer.write(connection, changes, now)
        self.before_commit(changes)
        return written


class HookRecorder:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failed: list[str] = []
        self.events: list[Event | None] = []

    @hookimpl
    def sink_startup(self) -> None:
        self.calls.append("startup")

    @hookimpl
    def sink_shutdown(self) -> None:
        self.calls.append("shutdown")

    @hookimpl
    def sink_event_failed(self, event: Event | None, error: EventError) -> None:
        self.failed.append(type(error).__name__)
        self.events.append(event)

    @hookimpl
    def sink_batch_committed(self, changes: int) -> None:
        self.calls.append(f"committed {changes}")


class RunningWorker(threading.Thread):
    """A worker in a thread, stopped when the block is left; `error` is the exception it raised."""

    def __init__(self, worker: Worker, stop: threading.Event) -> None:
        super().__init__()
        self.worker, self.stop = worker, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.worker.run()
        except Exception as error:  # noqa: BLE001 - a test checks it
            self.error = error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join(60)
        assert not self.is_alive()


class WorkerHarness:
    """A simulated Kafka, a target table, and the workers that write from one to the other."""

    def __init__(
        self, written: Callable[..., Any], ddl: str = "id int PRIMARY KEY", *columns: Column
    ) -> None:
        self.target = written(ddl, *columns)
        self.columns = [column.name for column in self.target.columns]
        self.committed_ms = 0
        """The commit time of all events in the source; 0 if they have none."""
        self.known: set[str] = set()
        """The values of `need` that its lookup finds."""
        self.now = NOW
        self.schema = self.target.scratch.schema
        self.topic = Topic("c", "topic", self.schema)
        self.target.scratch.admin.execute(AUDIT.format(schema=self.schema))
        self.broker = Broker()
        self.broker.assign(one={0})
        self.hooks = HookRecorder()
        self.settings = WorkerSettings(
            retry=RetryPolicy(steps=(0.01, 0.02), forever=True, jitter=no_jitter),
            maintenance_seconds=0.05,
            tombstone_retention=timedelta(days=1),
        )
        self.health = Health()
        self.silence_seconds = 60.0

    def retry_after(self, *steps: float) -> None:
        self.settings = replace(self.settings, retry=replace(self.settings.retry, steps=steps))

    def use_partitions(self, partitions: int) -> None:
        """Replace the topic by one with this number of partitions, all assigned to worker `one`."""
        self.broker = Broker(partitions)
        self.broker.assign(one=set(range(partitions)))

    def run(self, worker: Worker, stop: threading.Event) -> RunningWorker:
        return RunningWorker(worker, stop)

    def running(self, name: str = "one", **options: Any) -> RunningWorker:
        """Return a worker that runs until the block is left."""
        worker, _, stop = self.worker(name, **options)
        return RunningWorker(worker, stop)

    def offsets(self, owner: str) -> Offsets:
        return Offsets("staged", self.topic, owner)

    def committer(self, name: str, before_commit: Callable = lambda _: None) -> Committer:
        kinds = {"id": Kind.INT, "need": Kind.STRING}
        shape = [SourceColumn(name, kinds[name]) for name in self.columns]
        target = self.target
        self.route = Route(
            target.mapping,
            target.columns,
            Chain(),
            shape_of=lambda _: Shape(shape, shape),
            resolve=lambda _, needs: {need: need for need in needs & self.known},
            subject=lambda _: "",
            removal=lambda message, _: Removal((int(message.key),), Delete(), None, message),
        )
        writer = HookedWriter(self._writer(), before_commit)
        return Committer(
            "staged",
            session=TargetSession("staged", target.scratch.dsn, writer),
            offsets=self.offsets(name),
            dead_letters=DeadLetters("staged", "1", ENCRYPTOR),
            clock=lambda: NOW,
        )

    def _writer(self) -> Any:
        with self.target.scratch.session() as session:
            return self.target.another(session)

    def worker(
        self,
        name: str = "one",
        before_commit: Callable = lambda _: None,
        *,
        max_records: int = 3,
        refresh: Callable = lambda: None,
        observers: Observers = NO_OBSERVERS,
        wanted: Callable = Wanted,
    ) -> tuple[Worker, Consumer, threading.Event]:
        committer = self.committer(name, before_commit)
        consumer, stop = Consumer(self.broker, name, max_records), threading.Event()
        manager = new_manager()
        manager.register(self.hooks, "recorder")
        worker = Worker(
            self.pipeline(committer, Hooks(manager, defaultdict(lambda: None))),
            topic_watch=TopicWatch("staged", self.topic, lambda: self.topic, unbounded_epoch),
            feed=lambda: consumer,
            liveness=BrokerLiveness(self.health.mapping("staged"), self.silence_seconds),
            refresh=refresh,
            settings=self.settings,
            health=self.health.mapping("staged"),
            stop=stop,
            observers=observers,
            wanted=wanted,
        )
        return worker, consumer, stop

    def pipeline(self, committer: Committer, hooks: Hooks) -> Pipeline:
        return Pipeline(
            name="staged",
            mapping=self.target.mapping,
            source=EventSource(
                decode=Decoder(self.columns, self.committed_ms).decode, shape_of=None, subject=None
            ),
            compiled=CompiledMapping(self.target.columns, Chain(), self.route, hooks),
            writer=None,
            committer=committer,
            retry_queue=RetryQueue(
                "staged",
                committer=committer,
                encryptor=ENCRYPTOR,
                retry=timedelta(seconds=0.02),
                give_up=timedelta(hours=24),
                clock=lambda: self.now,
            ),
            lookups=Lookups((), {}),
        )

    def written_ids(self) -> list[int]:
        return sorted(self.write_order())

    def write_order(self) -> list[int]:
        """Return the ids of the rows in the order in which they were written."""
        rows = self.target.scratch.admin.execute(
            f"SELECT id FROM {self.schema}.audit ORDER BY ctid"
        )
        return [row[0] for row in rows]

    def wait_for(self, expected: list[int], seconds: float = 60) -> None:
        """Wait until exactly these rows are written, each of them once."""
        deadline = time.monotonic() + seconds
        while len(self.written_ids()) < len(expected) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.written_ids() == expected


@pytest.fixture(autouse=True)
def frequent_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reload the keys of deferred events every 20 ms instead of every second."""
    monkeypatch.setattr(retry_queue, "_RELOAD_SECONDS", 0.02)


@pytest.fixture
def harness(written: Callable[..., Any]) -> WorkerHarness:
    return WorkerHarness(written)


@pytest.fixture
def text_harness(written: Callable[..., Any]) -> WorkerHarness:
    """A harness whose table also has a text column, `need`."""
    return WorkerHarness(written, "id int PRIMARY KEY, need text", Column("id"), Column("need"))


@pytest.fixture
def lookup_harness(written: Callable[..., Any]) -> WorkerHarness:
    """A harness whose rows are deferred until their `need` is in `known`."""
    lookup = Lookup("SELECT %s", "north")
    columns = Column("id"), Column("need", required=True, lookup=lookup)
    return WorkerHarness(written, "id int PRIMARY KEY, need text", *columns)
