"""A source table whose rows exchange unique values, and the runners that copy it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import psycopg

from sink_runner.errors import RetriableError
from sink_runner.model.partition import Advance
from sink_runner.testing import NOW, Sample, TargetHarness, create, delete, update

IDS = (1, 2, 3, 4)
EMAILS = ("a", "b", "c", "d", "e")


class Op(NamedTuple):
    """A transaction: its kind, the two rows it concerns, and a new value for one of them."""

    kind: str
    one: int
    other: int
    email: str


class Turn(NamedTuple):
    """A step of the delivery: events of a partition, a retry of deferred events, or a restart."""

    kind: str
    partition: int
    count: int


class Source:
    """The source table, whose unique constraint is deferrable, and its events."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.events: list[tuple[int, Sample]] = []
        self._numbers = count(1)
        for id_, email in zip(IDS[:3], EMAILS, strict=False):
            self.write(id_, email)
        self.first, self.events = self.events, []
        """The events of the initial rows."""

    def apply(self, op: Op) -> None:
        one, other = self.rows.get(op.one), self.rows.get(op.other)
        free = op.email not in {row["email"] for row in self.rows.values()}
        match op.kind:
            case "insert" if one is None and free:
                self.write(op.one, op.email)
            case "change" if one is not None:
                self.write(op.one, one["email"])
            case "move" if one is not None and free:
                self.write(op.one, op.email)
            case "hand" if one and other and op.one != op.other and free:
                self.write(op.one, op.email)
                self.write(op.other, one["email"])
            case "swap" if one and other and op.one != op.other:
                self.write(op.one, other["email"])
                self.write(op.other, one["email"])
            case "take" if one and other and op.one != op.other:
                self.delete(op.one)
                self.write(op.other, one["email"])
            case "replace" if one is not None and other is None:
                self.delete(op.one)
                self.write(op.other, one["email"])

    def write(self, id_: int, email: str) -> None:
        number = next(self._numbers)
        before = self.rows.get(id_)
        row = {"id": id_, "email": email, "v": number, "at": NOW + timedelta(seconds=number)}
        self.rows[id_] = row
        sample = create(**row) if before is None else update(before, **row)
        self.events.append((id_, sample.at(NOW, 10 * number)))

    def delete(self, id_: int) -> None:
        before = self.rows.pop(id_)
        self.events.append((id_, delete(**before).at(NOW, 10 * next(self._numbers))))

    def expected(self) -> list[tuple[int, str, int]]:
        return sorted((row["id"], row["email"], row["v"]) for row in self.rows.values())


class Process:
    """A runner that owns some of the partitions."""

    def __init__(self, sink: "Sink", partitions: Sequence[int]) -> None:
        self._sink, self._partitions = sink, partitions
        self.target = sink.harness()
        self.claim()

    def claim(self) -> None:
        self._claims = dict(self.target.committer.claim(self._partitions))
        self.target.waiting.load(self._partitions)

    def send(self, events: Sequence[tuple[int, Sample]]) -> None:
        """Apply events, given with their partitions, as one batch."""
        waiting, before = self.target.waiting, dict(self._claims)
        messages = []
        for (partition, _), message in zip(
            events, self.target.messages(*(sample for _, sample in events)), strict=True
        ):
            claim = self._claims[partition]
            offset = claim.next_offset or 0
            messages.append(message._replace(partition=partition, offset=offset))
            self._claims[partition] = claim._replace(next_offset=offset + 1)
        ready, held = waiting.split(messages)
        batch = self.target.prepare(ready)
        waiting.hold(batch, held)
        steps = [
            Advance(p, claim.epoch, before[p].next_offset, claim.next_offset)
            for p, claim in self._claims.items()
            if claim != before[p]
        ]
        self.target.committer.apply(batch, steps)
        waiting.record_committed(batch.dead_letters, batch.superseding)

    def retry(self) -> None:
        waiting = self.target.waiting
        waiting.load(self._partitions)
        with suppress(RetriableError):
            waiting.retry(self._claims, self.target.prepare)

    def restart(self) -> "Process":
        self.target.close()
        return Process(self._sink, self._partitions)


class Sink:
    """The target table and the runners that write it; partitions are numbered from 1."""

    def __init__(self, postgres: Any, name: str, partitions: int, processes: int) -> None:
        self._postgres, self.name = postgres, name
        self.admin = psycopg.connect(postgres.dsn(name), autocommit=True)
        self.partitions = partitions
        self._decoded: list[Any] = []
        self._shapes: list[Any] = []
        self._count = processes
        self.processes = [
            Process(self, [p for p in range(1, partitions + 1) if p % processes == n])
            for n in range(processes)
        ]

    def harness(self) -> TargetHarness:
        dsn = self._postgres.dsn(self.name, role="sink_writer")
        harness = TargetHarness("people", dsn=dsn, admin_dsn=self._postgres.dsn(self.name))
        # All runners share the schemas of the sample events.
        harness.samples._shapes, harness.samples._decoded = self._shapes, self._decoded
        return harness

    def clear(self) -> None:
        self.admin.execute(
            "TRUNCATE people, sink.dead_letter, sink.row_version, sink.partition_offset"
        )
        for process in self.processes:
            process.claim()

    def owner(self, partition: int) -> Process:
        return self.processes[partition % self._count]

    def send(self, id_: int, sample: Sample) -> None:
        """Apply an event by the runner that owns the partition of its row."""
        partition = id_ % self.partitions + 1
        self.owner(partition).send([(partition, sample)])

    def restart(self, partition: int) -> None:
        number = partition % self._count
        self.processes[number] = self.processes[number].restart()

    def drain(self) -> None:
        """Retry deferred events until nothing changes any more."""
        before: object = None
        while before != (before := (self.rows(), self.dead_letters())):
            for process in self.processes:
                process.retry()

    def rows(self) -> list[tuple[int, str, int]]:
        return self.admin.execute("SELECT id, email, v FROM people ORDER BY 1").fetchall()

    def dead_letters(self) -> list[tuple[str, str]]:
        """Return status and message of the open dead letters and the deferred events."""
        query = (
            "SELECT status, error_message FROM sink.dead_letter WHERE status IN ('PARKED', 'OPEN')"
        )
        return self.admin.execute(query).fetchall()

    def close(self) -> None:
        for process in self.processes:
            process.target.close()


def by_partition(sink: Sink, events: Sequence[tuple[int, Sample]]) -> Mapping[int, list[Sample]]:
    """Group the events by partition."""
    queues: Mapping[int, list[Sample]] = {p: [] for p in range(1, sink.partitions + 1)}
    for id_, sample in events:
        queues[id_ % sink.partitions + 1].append(sample)
    return queues


def deliver(sink: Sink, source: Source, turns: Sequence[Turn]) -> None:
    queues = by_partition(sink, source.first)
    for partition, samples in queues.items():
        sink.owner(partition).send([(partition, sample) for sample in samples])
    queues = by_partition(sink, source.events)
    rest = [Turn("deliver", p, len(source.events)) for p in range(sink.partitions)]
    for kind, number, limit in [*turns, *rest]:
        partition = number % sink.partitions + 1
        match kind:
            case "deliver" if queues[partition]:
                sink.owner(partition).send([(partition, one) for one in queues[partition][:limit]])
                del queues[partition][:limit]
            case "retry":
                sink.owner(partition).retry()
            case "restart":
                sink.restart(partition)
    sink.drain()
