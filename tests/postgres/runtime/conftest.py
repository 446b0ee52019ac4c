"""A log, a group and a database for workers, none of them well behaved."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

import pytest

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
from sink_runner.runtime.worker import Worker, WorkerSettings
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
# Each attempt to write a row leaves a line, even one that would change nothing.
AUDIT = """
CREATE TABLE {schema}.audit (id int);
CREATE FUNCTION {schema}.audit() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN INSERT INTO {schema}.audit VALUES (new.id); RETURN new; END $$;
CREATE TRIGGER audit BEFORE INSERT ON {schema}.t
FOR EACH ROW EXECUTE FUNCTION {schema}.audit();
"""


def exactly(seconds: float) -> float:
    """Wait as long as it says."""
    return seconds


class Broker:
    """A partitioned log and a group that shares it out anew whenever it is told to."""

    def __init__(self, partitions: int = 1) -> None:
        self.logs: dict[int, list[Message]] = {p: [] for p in range(partitions)}
        self.committed: dict[int, int] = {}
        self.starts: dict[int, int] = {}
        """Where a log begins, if that is before its first record."""
        self.shares: dict[str, set[int]] = defaultdict(set)
        self.generation = 0
        self.polled = 0
        self.away = False

    def send(
        self,
        partition: int,
        value: bytes | int,
        offset: int | None = None,
        *,
        key: bytes | None = None,
        need: str = "",
        leader_epoch: int = NO_LEADER_EPOCH,
    ) -> None:
        log = self.logs[partition]
        at = offset if offset is not None else (log[-1].offset + 1 if log else 0)
        row = {"id": value, "need": need} if isinstance(value, int) else None
        body = HEADER + json.dumps(row).encode() if row else value
        log.append(Message("topic", partition, at, key, body, (), leader_epoch))

    def share(self, **shares: set[int]) -> None:
        self.shares = defaultdict(set, shares)
        self.generation += 1


class Consumer:
    """One member of the group, as the worker knows it."""

    def __init__(self, broker: Broker, name: str, most: int) -> None:
        self.broker, self.name, self.most = broker, name, most
        self.generation = -1
        self.positions: dict[int, int] = {}
        self.sought: list[tuple[int, int | None]] = []

    def _join(self) -> None:
        if self.generation != self.broker.generation:
            self.generation = self.broker.generation
            committed = self.broker.committed
            self.positions = {p: committed.get(p, 0) for p in self.broker.shares[self.name]}

    def poll(self, seconds: float) -> dict[int, list[Message]]:
        self._join()
        found = {}
        for partition, position in self.positions.items():
            part = [m for m in self.broker.logs[partition] if m.offset >= position][: self.most]
            if part:
                found[partition] = part
                self.positions[partition] = part[-1].offset + 1
        self.broker.polled += bool(found)
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
        self.sought.append((partition, offset))
        self.positions[partition] = self.bounds(partition).first if offset is None else offset

    def bounds(self, partition: int) -> Bounds:
        log = self.broker.logs[partition]
        first = self.broker.starts.get(partition, log[0].offset if log else 0)
        return Bounds(first, log[-1].offset + 1 if log else first)

    def ping(self) -> None:
        if self.broker.away:
            raise RetriableError("Kafka does not answer")

    def mirror(self, offsets: dict[int, int]) -> None:
        self.broker.committed.update(offsets)

    def close(self) -> None:
        self.positions = {}


class Decoder:
    """Reads the messages of these tests."""

    def __init__(self, columns: list[str], committed_ms: int) -> None:
        self.columns, self.committed_ms = columns, committed_ms

    def decode(self, messages: list[Message]) -> list[Decoded | DecodeError | None]:
        return [None if one.value is None else self._decode(one.value) for one in messages]

    def _decode(self, value: bytes) -> Decoded | DecodeError:
        try:
            found = json.loads(value[5:])
            row = tuple(found[name] for name in self.columns)
        except ValueError:
            return DecodeError("not one of ours")
        return Decoded("c", row, None, 1, self.committed_ms, None, None)


def epoch_goes_on(_partition: int, leader_epoch: int) -> EpochEnd:
    """Answer that Kafka lost no record of any leader epoch."""
    return EpochEnd(leader_epoch, 1 << 62)


class Unlucky:
    """The real writer, but for what `before` does first."""

    def __init__(self, writer: Any, before: Callable[[list[Change]], None]) -> None:
        self.writer, self.before = writer, before
        self.state, self.unique = writer.state, writer.unique

    def prepare(self, connection: Any) -> None:
        self.writer.prepare(connection)

    def expire(self, connection: Any, now: Any) -> int:
        return self.writer.expire(connection, now)

    def write(self, connection: Any, changes: list[Change], now: Any) -> int:
        written = self.writer.write(connection, changes, now)
        self.before(changes)
        return written


class Watcher:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failed: list[str] = []
        self.events: list[Event | None] = []

    @hookimpl
    def sink_startup(self) -> None:
        self.seen.append("startup")

    @hookimpl
    def sink_shutdown(self) -> None:
        self.seen.append("shutdown")

    @hookimpl
    def sink_event_failed(self, event: Event | None, error: EventError) -> None:
        self.failed.append(type(error).__name__)
        self.events.append(event)

    @hookimpl
    def sink_batch_committed(self, changes: int) -> None:
        self.seen.append(f"committed {changes}")


class Running(threading.Thread):
    """A worker at work; leaving tells it to stop, and `fault` is what it ended with."""

    def __init__(self, worker: Worker, stop: threading.Event) -> None:
        super().__init__()
        self.worker, self.stop = worker, stop
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            self.worker.run()
        except Exception as fault:  # noqa: BLE001 - whatever it is, a test asks for it
            self.fault = fault

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join(20)
        assert not self.is_alive()


class Stage:
    """A broker, a database and the workers between them."""

    def __init__(
        self, written: Callable[..., Any], ddl: str = "id int PRIMARY KEY", *columns: Column
    ) -> None:
        self.made = written(ddl, *columns)
        self.columns = [column.name for column in self.made.columns]
        self.committed_ms = 0
        """When the source committed the events; 0 if they do not say."""
        self.known: set[str] = set()
        """What the lookup of `need` finds."""
        self.now = NOW
        self.schema = self.made.scratch.schema
        self.topic = Topic("c", "topic", self.schema)
        self.made.scratch.admin.execute(AUDIT.format(schema=self.schema))
        self.broker = Broker()
        self.broker.share(one={0})
        self.watcher = Watcher()
        self.settings = WorkerSettings(
            retry=RetryPolicy(steps=(0.01, 0.02), forever=True, jitter=exactly),
            maintenance_seconds=0.05,
            tombstone_retention=timedelta(days=1),
        )
        self.health = Health()
        self.silence = 60.0

    def retry_after(self, *steps: float) -> None:
        self.settings = replace(self.settings, retry=replace(self.settings.retry, steps=steps))

    def log(self, partitions: int) -> None:
        """Have so many partitions instead of one, all of them the first worker's."""
        self.broker = Broker(partitions)
        self.broker.share(one=set(range(partitions)))

    def run(self, worker: Worker, stop: threading.Event) -> Running:
        return Running(worker, stop)

    def running(self, name: str = "one", **options: Any) -> Running:
        """A worker that runs until the block is left."""
        worker, _, stop = self.worker(name, **options)
        return Running(worker, stop)

    def offsets(self, owner: str) -> Offsets:
        return Offsets("staged", self.topic, owner)

    def committer(self, name: str, before: Callable = lambda _: None) -> Committer:
        kinds = {"id": Kind.INT, "need": Kind.STRING}
        shape = [SourceColumn(name, kinds[name]) for name in self.columns]
        made = self.made
        self.route = Route(
            made.mapping,
            made.columns,
            Chain(),
            shape_of=lambda _: Shape(shape, shape),
            resolve=lambda _, asked: {need: need for need in asked & self.known},
            subject=lambda _: "",
            removal=lambda message, _: Removal((int(message.key),), Delete(), None, message),
        )
        writer = Unlucky(self._writer(), before)
        return Committer(
            "staged",
            session=TargetSession("staged", made.scratch.dsn, writer),
            offsets=self.offsets(name),
            dead_letters=DeadLetters("staged", "1", ENCRYPTOR),
            clock=lambda: NOW,
        )

    def _writer(self) -> Any:
        with self.made.scratch.session() as session:
            return self.made.another(session)

    def worker(
        self,
        name: str = "one",
        before: Callable = lambda _: None,
        most: int = 3,
        refresh: Callable = lambda: None,
    ) -> tuple[Worker, Consumer, threading.Event]:
        committer = self.committer(name, before)
        consumer, stop = Consumer(self.broker, name, most), threading.Event()
        manager = new_manager()
        manager.register(self.watcher, "watcher")
        worker = Worker(
            self.pipeline(committer, Hooks(manager, defaultdict(lambda: None))),
            topic_watch=TopicWatch("staged", self.topic, lambda: self.topic, epoch_goes_on),
            feed=lambda: consumer,
            liveness=BrokerLiveness(self.health.mapping("staged"), self.silence),
            refresh=refresh,
            settings=self.settings,
            health=self.health.mapping("staged"),
            stop=stop,
        )
        return worker, consumer, stop

    def pipeline(self, committer: Committer, hooks: Hooks) -> Pipeline:
        return Pipeline(
            name="staged",
            mapping=self.made.mapping,
            source=EventSource(
                decode=Decoder(self.columns, self.committed_ms).decode, shape_of=None, subject=None
            ),
            compiled=CompiledMapping(self.made.columns, Chain(), self.route, hooks),
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

    def audit(self) -> list[int]:
        return sorted(self.written())

    def written(self) -> list[int]:
        """The rows in the order in which they were written."""
        rows = self.made.scratch.admin.execute(f"SELECT id FROM {self.schema}.audit ORDER BY ctid")
        return [row[0] for row in rows]

    def until(self, expected: list[int], seconds: float = 20) -> None:
        """Wait until each of these was written, and no other and none twice."""
        deadline = time.monotonic() + seconds
        while len(self.audit()) < len(expected) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.audit() == expected


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the keys of deferred events more often than once a second."""
    monkeypatch.setattr(retry_queue, "_RELOAD_SECONDS", 0.02)


@pytest.fixture
def stage(written: Callable[..., Any]) -> Stage:
    return Stage(written)


@pytest.fixture
def wide(written: Callable[..., Any]) -> Stage:
    """A stage whose rows have a text of any length, `need`."""
    return Stage(written, "id int PRIMARY KEY, need text", Column("id"), Column("need"))


@pytest.fixture
def needy(written: Callable[..., Any]) -> Stage:
    """A stage whose rows need something that has to be `known`."""
    lookup = Lookup("SELECT %s", "north")
    columns = Column("id"), Column("need", required=True, lookup=lookup)
    return Stage(written, "id int PRIMARY KEY, need text", *columns)
