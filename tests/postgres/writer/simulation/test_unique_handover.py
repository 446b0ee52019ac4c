"""Rows that exchange a unique value besides their key converge to the state of the source.

The source has a primary key `id` and a unique `email`. Events are partitioned by `id`; the
partitions are delivered in any relative order, to one or two runners that may restart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect

from .orders import interleavings
from .people import EMAILS, IDS, Op, Sink, Source, Turn, deliver

pytestmark = pytest.mark.postgres

MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="{database}.public.people", key=("id",),
        conflict={conflict}, needs_before_image=True,
        columns=(Column("id"), Column("email"), Column("v"), Column("at"), {more}),
    )
"""
STRATEGIES = {
    "source": "source_wins()",
    "newest": 'newest_wins("at")',
    "merge": 'merge_changed("at")',
    "in order": "source_wins()",
}
"""With the last one, an event waits for the earlier events of its row."""
FIRST = 'Column("first", "v", insert_only=True)'
IMMEDIATE, DEFERRABLE = "UNIQUE", "UNIQUE DEFERRABLE INITIALLY IMMEDIATE"
TIMING = [DEFERRABLE, "UNIQUE DEFERRABLE INITIALLY DEFERRED"]

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


@pytest.fixture
def sink(postgres: Any, site: Any) -> Iterator[Callable[..., Sink]]:
    sinks: list[Sink] = []

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
            migrate(connection)
        more = FIRST if strategy == "in order" else ""
        conflict = STRATEGIES[strategy]
        site.plugin("people", MAPPING.format(database=name, conflict=conflict, more=more))
        sinks.append(Sink(postgres, name, partitions, processes))
        return sinks[-1]

    yield make
    for one in sinks:
        one.close()
        one.admin.close()


@pytest.mark.parametrize(("partitions", "processes"), [(1, 1), (2, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deferrable_constraint_converges(
    sink: Callable[..., Sink], strategy: str, partitions: int, processes: int
) -> None:
    target = sink(TIMING[partitions % 2], strategy, partitions=partitions, processes=processes)

    def check(source: Source) -> None:
        assert (target.rows(), target.dead_letters()) == (source.expected(), [])

    search(target, check)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_immediate_constraint_converges_or_defers(sink: Callable[..., Sink], strategy: str) -> None:
    """A deferred event names the remedy; without deferred events the tables are equal."""
    target = sink(IMMEDIATE, strategy, partitions=3)

    def check(source: Source) -> None:
        dead_letters = target.dead_letters()
        assert dead_letters or target.rows() == source.expected()
        assert all(status == "PARKED" for status, _ in dead_letters)
        assert not dead_letters or any(HINT in text for _, text in dead_letters)

    search(target, check)


def test_deferred_event_has_latest_reason(sink: Callable[..., Sink]) -> None:
    """The event first waits for an event of its row, then for a value of another row."""
    target, source = sink(IMMEDIATE, "in order", partitions=3), Source()
    for op in (
        Op("take", 2, 1, ""),
        Op("replace", 3, 2, ""),
        Op("hand", 2, 1, "a"),
        Op("hand", 1, 2, "b"),
    ):
        source.apply(op)
    deliver(target, source, [Turn("deliver", 0, 1), Turn("deliver", 0, 1)])
    (first, second) = sorted(text for _, text in target.dead_letters())
    assert HINT in first
    assert second.startswith("waits behind")


def search(sink: Sink, check: Callable[[Source], None]) -> None:
    """Run `check` after a random history was delivered in a random order."""

    @settings(
        max_examples=8,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(ops=OPS, turns=TURNS)
    def run(ops: list[Op], turns: list[Turn]) -> None:
        sink.clear()
        source = Source()
        for op in ops:
            source.apply(op)
        deliver(sink, source, turns)
        check(source)

    run()


def test_two_runners_apply_swap(sink: Callable[..., Sink]) -> None:
    """Neither runner can write its row alone; both rows must change in one transaction."""
    target, source = sink(DEFERRABLE, partitions=2, processes=2), Source()
    source.apply(Op("swap", 1, 2, ""))
    deliver(target, source, [])
    assert (target.rows(), target.dead_letters()) == (source.expected(), [])


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
HANDED_OVER_TWICE = [Op("hand", 1, 2, "e"), Op("hand", 2, 3, "d")]
HINT = "ADD CONSTRAINT emails UNIQUE (...) DEFERRABLE"


def every_order(sink: Sink, ops: Sequence[Op], *, together: bool) -> Iterator[Source]:
    """Deliver the events in every order, with one partition for each row."""
    source = Source()
    for op in ops:
        source.apply(op)
    queues = [[one for one in source.events if one[0] == id_] for id_ in IDS]
    for order in interleavings(queues):
        sink.clear()
        batches = [order] if together else [[one] for one in order]
        for events in [source.first, *batches]:
            sink.processes[0].send(events)
        sink.drain()
        yield source


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_order_of_partitions_converges(
    sink: Callable[..., Sink], strategy: str, *, together: bool
) -> None:
    target = sink(IMMEDIATE, strategy, partitions=4)
    for name, ops in SCENARIOS.items():
        for source in every_order(target, ops, together=together):
            assert (target.rows(), target.dead_letters()) == (source.expected(), []), name


@pytest.mark.parametrize("timing", [IMMEDIATE, DEFERRABLE])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_value_already_taken_by_later_row(
    sink: Callable[..., Sink], strategy: str, timing: str
) -> None:
    """A row takes a value and gives it up again; the event of its next owner may come first."""
    target = sink(timing, strategy, partitions=4)
    for source in every_order(target, HANDED_OVER_TWICE, together=False):
        if timing == DEFERRABLE or strategy in {"source", "newest"}:
            assert (target.rows(), target.dead_letters()) == (source.expected(), [])
        elif target.dead_letters():
            assert all(status == "PARKED" for status, _ in target.dead_letters())
            assert any(HINT in text for _, text in target.dead_letters())


def test_swap_is_deferred_until_constraint_is_deferrable(sink: Callable[..., Sink]) -> None:
    """The deferred event names the remedy, and no restart is needed after it."""
    target, source = sink(IMMEDIATE, partitions=4), Source()
    source.apply(Op("swap", 1, 2, ""))
    deliver(target, source, [])
    assert target.rows() == [(1, "a", 1), (2, "b", 2), (3, "c", 3)]
    assert [(status, HINT in text) for status, text in target.dead_letters()] == [
        ("PARKED", True)
    ] * 2
    target.admin.execute(
        "ALTER TABLE public.people DROP CONSTRAINT emails, "
        "ADD CONSTRAINT emails UNIQUE (email) DEFERRABLE"
    )
    target.drain()
    assert (target.rows(), target.dead_letters()) == (source.expected(), [])


TAKEN_VALUE = "INSERT INTO people VALUES (9, 'e', 0)"
MISSING_REFERENCE = """
CREATE TABLE known (v int PRIMARY KEY);
INSERT INTO known SELECT v FROM generate_series(0, 9) v WHERE v <> 6;
ALTER TABLE people ADD FOREIGN KEY (v) REFERENCES known
"""


@pytest.mark.parametrize("cause", [TAKEN_VALUE, MISSING_REFERENCE], ids=["value", "foreign key"])
def test_swap_is_applied_beside_deferred_event(sink: Callable[..., Sink], cause: str) -> None:
    """The batch of the two rows also contains an event that stays deferred for another reason."""
    target, source = sink(DEFERRABLE, partitions=4), Source()
    target.admin.execute(cause.encode())
    source.apply(Op("swap", 1, 2, ""))
    source.apply(Op("move", 3, 3, "e"))
    one, other, deferred = source.events
    for events in (source.first, [one], [deferred], [other]):
        target.processes[0].send(events)
    assert len(target.dead_letters()) == 3
    target.drain()
    assert target.rows()[:3] == [(1, "b", 4), (2, "a", 5), (3, "c", 3)]
    assert [status for status, _ in target.dead_letters()] == ["PARKED"]


def test_retry_does_not_overwrite_newer_event(sink: Callable[..., Sink]) -> None:
    """A newer event of the row is applied while the other runner retries the older one."""
    target, source = sink(DEFERRABLE, partitions=2, processes=2), Source()
    source.apply(Op("swap", 1, 2, ""))
    source.apply(Op("move", 1, 1, "e"))
    one, other, moved = source.events
    for id_, sample in (*source.first, one, other):
        target.send(id_, sample)
    process = target.owner(other[0] % 2 + 1)
    apply = process.target.committer.apply

    def apply_late(*arguments: Any, **options: Any) -> int:
        process.target.committer.apply = apply  # type: ignore[method-assign]
        target.send(*moved)
        return apply(*arguments, **options)

    process.target.committer.apply = apply_late  # type: ignore[method-assign]
    process.retry()
    assert target.rows() == [(1, "e", 6), (2, "b", 2), (3, "c", 3)]
    target.drain()
    assert (target.rows(), target.dead_letters()) == (source.expected(), [])
