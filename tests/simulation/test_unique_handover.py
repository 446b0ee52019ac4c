"""Rows that pass on or swap a unique value besides their key end as the source has them.

The source is a table with a primary key `id` and a unique `email`; its rows are delivered by `id`
in one of several partitions, in any order between them, to one runner or to two that share the
partitions, restarted at any time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.errors import RetriableError
from sink_runner.target.offsets import Advance
from sink_runner.target.session import connect, create_control_tables
from sink_runner.testing import NOW, Sample, TargetHarness, create, delete, update

pytestmark = pytest.mark.postgres

IDS = (1, 2, 3, 4)
EMAILS = ("a", "b", "c", "d", "e")
MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="{database}.public.people", key=("id",),
        conflict={conflict}, old_row=True,
        columns=(Column("id"), Column("email"), Column("v"), Column("at"), {more}),
    )
"""
STRATEGIES = {
    "source": "source_wins()",
    "newest": 'newest_wins("at")',
    "merge": 'merge_changed("at")',
    "in order": "source_wins()",
}
"""In the last one each event waits for the earlier ones of its row."""
FIRST = 'Column("first", "v", on_insert=True)'
IMMEDIATE, DEFERRABLE = "UNIQUE", "UNIQUE DEFERRABLE INITIALLY IMMEDIATE"
TIMING = [DEFERRABLE, "UNIQUE DEFERRABLE INITIALLY DEFERRED"]


class Op(NamedTuple):
    """One transaction, of what two rows, and a free value for one of them."""

    kind: str
    one: int
    other: int
    email: str


class Turn(NamedTuple):
    """What comes next: events of a partition, another try of what waits, or a restart."""

    kind: str
    partition: int
    count: int


KINDS = ["insert", "change", "move", "hand", "hand", "swap", "swap", "take", "replace"]
OPS = st.lists(
    st.builds(
        Op,
        st.sampled_from(KINDS),
        st.sampled_from(IDS),
        st.sampled_from(IDS),
        st.sampled_from(EMAILS),
    ),
    min_size=2,
    max_size=10,
)
TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(["deliver"] * 6 + ["retry", "restart"]),
        st.integers(0, 4),
        st.integers(1, 4),
    ),
    min_size=2,
    max_size=12,
)


class Source:
    """The source table, whose unique constraint is deferrable, and its events."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.events: list[tuple[int, Sample]] = []
        self._numbers = count(1)
        for id_, email in zip(IDS[:3], EMAILS, strict=False):
            self.write(id_, email)
        self.first, self.events = self.events, []
        """Those of the rows that are there at first."""

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
    """A runner that holds some of the partitions."""

    def __init__(self, sink: "Sink", partitions: Sequence[int]) -> None:
        self._sink, self._partitions = sink, partitions
        self.target = sink.harness()
        self.claim()

    def claim(self) -> None:
        self._claims = dict(self.target.applier.claim(self._partitions))
        self.target.waiting.load(self._partitions)

    def send(self, events: Sequence[tuple[int, Sample]]) -> None:
        """Apply events, each of a partition, as one batch."""
        waiting, harness, before = self.target.waiting, self.target.harness, dict(self._claims)
        messages = []
        for (partition, _), message in zip(
            events, harness.messages(*(sample for _, sample in events)), strict=True
        ):
            claim = self._claims[partition]
            at = claim.next_offset or 0
            messages.append(message._replace(partition=partition, offset=at))
            self._claims[partition] = claim._replace(next_offset=at + 1)
        free, held = waiting.split(messages)
        batch = harness.prepare(free)
        waiting.hold(batch, held)
        steps = [
            Advance(p, claim.epoch, before[p].next_offset, claim.next_offset)
            for p, claim in self._claims.items()
            if claim != before[p]
        ]
        self.target.applier.apply(batch, steps)
        waiting.note(batch.letters, batch.superseding)

    def retry(self) -> None:
        waiting = self.target.waiting
        waiting.load(self._partitions)
        with suppress(RetriableError):
            waiting.retry(self._claims, self.target.harness.prepare)

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
            Process(self, [p for p in range(1, partitions + 1) if p % processes == at])
            for at in range(processes)
        ]

    def harness(self) -> TargetHarness:
        dsn = self._postgres.dsn(self.name, role="sink_writer")
        made = TargetHarness("people", dsn=dsn, admin_dsn=self._postgres.dsn(self.name))
        # What one runner has decoded the others can decode as well.
        made.harness._shapes, made.harness._decoded = self._shapes, self._decoded
        return made

    def clear(self) -> None:
        self.admin.execute("TRUNCATE people, sync_dlq, sink.row_version, sink.partition_offset")
        for process in self.processes:
            process.claim()

    def owner(self, partition: int) -> Process:
        return self.processes[partition % self._count]

    def restart(self, partition: int) -> None:
        at = partition % self._count
        self.processes[at] = self.processes[at].restart()

    def drain(self) -> None:
        """Retry until nothing changes any more."""
        before: object = None
        while before != (before := (self.rows(), self.letters())):
            for process in self.processes:
                process.retry()

    def rows(self) -> list[tuple[int, str, int]]:
        return self.admin.execute("SELECT id, email, v FROM people ORDER BY 1").fetchall()

    def letters(self) -> list[tuple[str, str]]:
        """The dead letters that wait or have failed."""
        query = "SELECT status, error_message FROM sync_dlq WHERE status IN ('PARKED', 'OPEN')"
        return self.admin.execute(query).fetchall()

    def close(self) -> None:
        for process in self.processes:
            process.target.close()


@pytest.fixture
def sink(postgres: Any, site: Any) -> Iterator[Callable[..., Sink]]:
    made: list[Sink] = []

    def make(
        timing: str, strategy: str = "source", *, partitions: int = 2, processes: int = 1
    ) -> Sink:
        name = postgres.fresh_database(like="smart_citizen")
        with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
            admin.execute(
                "CREATE TABLE people (id int PRIMARY KEY, "
                f"email text NOT NULL CONSTRAINT emails {timing}, v int, at timestamp, first int);"
                "GRANT SELECT, INSERT, UPDATE, DELETE ON people TO sink_writer".encode()
            )
        with connect(postgres.dsn(name, role="sink_writer"), "people") as connection:
            create_control_tables(connection)
        more = FIRST if strategy == "in order" else ""
        conflict = STRATEGIES[strategy]
        site.plugin("people", MAPPING.format(database=name, conflict=conflict, more=more))
        made.append(Sink(postgres, name, partitions, processes))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.admin.close()


def spread(sink: Sink, events: Sequence[tuple[int, Sample]]) -> Mapping[int, list[Sample]]:
    """The events of each partition."""
    queues: Mapping[int, list[Sample]] = {p: [] for p in range(1, sink.partitions + 1)}
    for id_, sample in events:
        queues[id_ % sink.partitions + 1].append(sample)
    return queues


def deliver(sink: Sink, source: Source, turns: Sequence[Turn]) -> None:
    queues = spread(sink, source.first)
    for partition, samples in queues.items():
        sink.owner(partition).send([(partition, sample) for sample in samples])
    queues = spread(sink, source.events)
    rest = [Turn("deliver", p, len(source.events)) for p in range(sink.partitions)]
    for kind, number, most in [*turns, *rest]:
        partition = number % sink.partitions + 1
        match kind:
            case "deliver" if queues[partition]:
                sink.owner(partition).send([(partition, one) for one in queues[partition][:most]])
                del queues[partition][:most]
            case "retry":
                sink.owner(partition).retry()
            case "restart":
                sink.restart(partition)
    sink.drain()


@pytest.mark.parametrize(("partitions", "processes"), [(1, 1), (2, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deferrable_values_end_as_in_the_source(
    sink: Callable[..., Sink], strategy: str, partitions: int, processes: int
) -> None:
    made = sink(TIMING[partitions % 2], strategy, partitions=partitions, processes=processes)

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(ops=OPS, turns=TURNS)
    def run(ops: list[Op], turns: list[Turn]) -> None:
        made.clear()
        source = Source()
        for op in ops:
            source.apply(op)
        deliver(made, source, turns)
        assert (made.rows(), made.letters()) == (source.expected(), [])

    run()


def test_two_runners_apply_a_swap(sink: Callable[..., Sink]) -> None:
    """Neither can write its row alone, and both rows change in one transaction."""
    made, source = sink(DEFERRABLE, partitions=2, processes=2), Source()
    source.apply(Op("swap", 1, 2, ""))
    deliver(made, source, [])
    assert (made.rows(), made.letters()) == (source.expected(), [])


# -- a constraint that is checked row by row ---------------------------------------------------

SCENARIOS = {
    "handed over": [Op("hand", 1, 2, "e")],
    "passed along": [Op("hand", 1, 2, "e"), Op("hand", 3, 1, "d")],
    "taken from a deleted row": [Op("take", 1, 2, "")],
    "inserted after a delete": [Op("replace", 1, 4, "")],
    "swapped by way of a third value": [
        Op("move", 1, 1, "e"),
        Op("move", 2, 2, "a"),
        Op("move", 1, 1, "b"),
    ],
}
PASSED_ON_TWICE = [Op("hand", 1, 2, "e"), Op("hand", 2, 3, "d")]
HINT = "ADD CONSTRAINT emails UNIQUE (...) DEFERRABLE"


def interleavings(queues: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Every order of the queues' items that keeps the order of each queue."""
    if not any(queues):
        yield []
    for n, queue in enumerate(queues):
        if queue:
            rest = [*queues[:n], queue[1:], *queues[n + 1 :]]
            yield from ([queue[0], *more] for more in interleavings(rest))


def every_order(sink: Sink, ops: Sequence[Op], *, together: bool) -> Iterator[Source]:
    """Deliver the rows' events, each row's in a partition of its own, in every order."""
    source = Source()
    for op in ops:
        source.apply(op)
    queues = [[one for one in source.events if one[0] == id_] for id_ in IDS]
    for order in interleavings(queues):
        sink.clear()
        for events in (
            (source.first, order) if together else [[one] for one in source.first + order]
        ):
            sink.processes[0].send([(id_, sample) for id_, sample in events])
        sink.drain()
        yield source


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_order_of_partitions_ends_alike(
    sink: Callable[..., Sink], strategy: str, *, together: bool
) -> None:
    made = sink(IMMEDIATE, strategy, partitions=4)
    for name, ops in SCENARIOS.items():
        for source in every_order(made, ops, together=together):
            assert (made.rows(), made.letters()) == (source.expected(), []), name


@pytest.mark.parametrize("timing", [IMMEDIATE, DEFERRABLE])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_value_that_a_later_row_has_already(
    sink: Callable[..., Sink], strategy: str, timing: str
) -> None:
    """A row takes a value and gives it up again; the one that has it then may come first."""
    made = sink(timing, strategy, partitions=4)
    for source in every_order(made, PASSED_ON_TWICE, together=False):
        if timing == DEFERRABLE or strategy in {"source", "newest"}:
            assert (made.rows(), made.letters()) == (source.expected(), [])
        elif made.letters():
            assert all(status == "PARKED" for status, _ in made.letters())
            assert any(HINT in text for _, text in made.letters())


def test_swap_waits_until_the_constraint_is_deferrable(sink: Callable[..., Sink]) -> None:
    """The dead letter says how; nothing has to be restarted after it."""
    made, source = sink(IMMEDIATE, partitions=4), Source()
    source.apply(Op("swap", 1, 2, ""))
    deliver(made, source, [])
    assert made.rows() == [(1, "a", 1), (2, "b", 2), (3, "c", 3)]
    assert [(status, HINT in text) for status, text in made.letters()] == [("PARKED", True)] * 2
    made.admin.execute(
        "ALTER TABLE public.people DROP CONSTRAINT emails, "
        "ADD CONSTRAINT emails UNIQUE (email) DEFERRABLE"
    )
    made.drain()
    assert (made.rows(), made.letters()) == (source.expected(), [])


HELD = "INSERT INTO people VALUES (9, 'e', 0)"
UNMET = """
CREATE TABLE known (v int PRIMARY KEY);
INSERT INTO known SELECT v FROM generate_series(0, 9) v WHERE v <> 6;
ALTER TABLE people ADD FOREIGN KEY (v) REFERENCES known
"""


@pytest.mark.parametrize("cause", [HELD, UNMET], ids=["value", "foreign key"])
def test_swap_is_applied_beside_an_event_that_waits(sink: Callable[..., Sink], cause: str) -> None:
    """What waits for something else lies between the two rows and is in their batch."""
    made, source = sink(DEFERRABLE, partitions=4), Source()
    made.admin.execute(cause.encode())
    source.apply(Op("swap", 1, 2, ""))
    source.apply(Op("move", 3, 3, "e"))
    one, other, waits = source.events
    for events in (source.first, [one], [waits], [other]):
        made.processes[0].send(events)
    assert len(made.letters()) == 3
    made.drain()
    assert made.rows()[:3] == [(1, "b", 4), (2, "a", 5), (3, "c", 3)]
    assert [status for status, _ in made.letters()] == ["PARKED"]
