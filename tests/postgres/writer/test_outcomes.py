"""Each event has exactly one outcome, whatever else its batch holds."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.model.outcome import Outcome, count_outcomes
from sink_runner.model.partition import Advance
from sink_runner.plugin import insert_once, newest_wins, source_wins
from sink_runner.testing import NOW, TargetHarness, create, delete, update

pytestmark = pytest.mark.postgres

VERSIONS = st.none() | st.integers(1, 4)
EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.none() | st.tuples(st.sampled_from("ab"), VERSIONS)),
    min_size=1,
    max_size=8,
)
"""Each a key with a value and its version, or with None for a deletion."""
STRATEGIES = {"newest": newest_wins("at"), "source": source_wins(), "once": insert_once()}


class Expected:
    """What becomes of events by the declared strategy, one key after the other."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.rows: dict[int, tuple[str, int | None]] = {}
        self.counts: Counter[Outcome] = Counter()

    def apply(self, events: list[Any]) -> Counter[Outcome]:
        self.counts = Counter()
        for key in {key for key, _ in events}:
            for value in self._folded([value for at, value in events if at == key]):
                self.counts[self._outcome(key, value)] += 1
        return self.counts

    def _folded(self, values: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for value in values:
            stays = self._fold(kept[-1], value) if kept else None
            if stays is None:
                kept.append(value)
            elif not stays:
                kept[-1] = value
                self.counts[Outcome.SUPERSEDED] += 1
        return kept

    def _fold(self, before: Any, after: Any) -> bool | None:
        """Whether `before` stays in place of both; None where each counts on its own."""
        if after is None:
            return None if before and self.strategy == "newest" else False
        if before is None:
            return None
        if self.strategy == "newest" and (after[1] or 0) < (before[1] or 0):
            self.counts[Outcome.STALE] += 1
            return True
        if self.strategy == "once":
            self.counts[Outcome.UNCHANGED] += 1
        return self.strategy == "once"

    def _outcome(self, key: int, value: Any) -> Outcome:
        row = self.rows.get(key)
        if value is None:
            self.rows.pop(key, None)
            return Outcome.REMOVED if row else Outcome.UNCHANGED
        if row and self.strategy == "newest" and (value[1] or 0) < (row[1] or 0):
            return Outcome.STALE
        if row == value or (row and self.strategy == "once"):
            return Outcome.UNCHANGED
        self.rows[key] = value
        return Outcome.WRITTEN


@pytest.fixture(params=STRATEGIES)
def made(written: Callable[..., Any], request: pytest.FixtureRequest) -> tuple[str, Any]:
    ddl = "id int PRIMARY KEY, v text, at int"
    return request.param, written(ddl, conflict=STRATEGIES[request.param])


_EXAMPLES = itertools.count(1)
_POSITIONS = itertools.count(1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(EVENTS, min_size=1, max_size=3))
def test_target_says_outcome_of_each_event(made: tuple[str, Any], batches: list[Any]) -> None:
    strategy, table = made
    expected, first_key = Expected(strategy), 10 * next(_EXAMPLES)
    for events in batches:
        changes = []
        for key, value in events:
            id_, position = first_key + key, next(_POSITIONS)
            changes.append(
                table.gone(id_, position=position)
                if value is None
                else table.row(id_, *value, position=position)
            )
        table.write(*changes)
        found = Counter(table.writer.state.outcomes)
        found[Outcome.UNCHANGED] += len(events) - found.total()
        assert +found == expected.apply(events)


def test_older_row_of_other_partition_is_stale(written: Callable[..., Any]) -> None:
    table = written("id int PRIMARY KEY, v text", conflict=source_wins())
    table.write(table.row(1, "new", position=9))
    table.write(table.row(1, "old", position=4), table.gone(1, position=5))
    assert +table.writer.state.outcomes == {"stale": 1, "superseded": 1}


ORDERS = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.orders", target="{database}.public.orders", key=("id",),
        conflict=newest_wins("changed"), needs_before_image=True,
        columns=(Column("id"), Column("note"), Column("changed")),
    )

@hookimpl
def sink_filter(event):
    if event.row["note"] == "private":
        return FilterResult.REMOVE
    return FilterResult.DROP if event.row["note"] == "draft" else FilterResult.PASS
"""
TABLE = """
CREATE TABLE orders (id int PRIMARY KEY, note varchar(9) NOT NULL, changed timestamp);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO sink_writer;
"""
LATER, LATEST = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


@pytest.fixture
def orders(postgres: Any, site: Any) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute(TABLE)
    site.plugin("orders", ORDERS.format(database=name))
    made = TargetHarness(
        "orders", dsn=postgres.dsn(name, role="sink_writer"), admin_dsn=postgres.dsn(name)
    )
    yield made
    made.close()


def outcomes(orders: TargetHarness, *samples: Any) -> Counter[str]:
    batch = orders.batch(*samples)
    batch.read = len(samples)
    orders.waiting.hold(batch)
    orders.apply(batch)
    return count_outcomes(batch)


def test_bulk_load_outcomes_add_up(orders: TargetHarness) -> None:
    """Rows that are removed, superseded and stale are not lost from the count."""

    def row(id_: int, note: str = "a", changed: Any = LATER) -> dict[str, Any]:
        return {"id": id_, "note": note, "changed": changed}

    first = [create(**row(id_)) for id_ in range(10)]
    assert outcomes(orders, *first) == {"written": 10}
    found = outcomes(
        orders,
        create(**row(0)),
        create(**row(1, changed=NOW)),
        create(**row(2, "private")),
        create(**row(3, "draft")),
        update(row(5), note="b", changed=LATEST),
        update(row(5, "b", LATEST), note="c"),
        delete(**row(6)),
        delete(**row(77)),
        update(row(7), id=17),
        update(row(8), note="private"),
        create(**row(9, "far too long for it")),
        create(**row(18)),
        create(**row(18, changed=NOW)),
    )
    assert found == {
        "unchanged": 2,
        "stale": 2,
        "removed": 3,
        "filtered": 1,
        "written": 3,
        "superseded": 1,
        "dead": 1,
    }


def test_lost_answer_keeps_outcomes(orders: TargetHarness) -> None:
    batch = orders.batch(create(id=1, note="a", changed=NOW), create(id=2, note="b", changed=NOW))
    orders.apply(batch)
    batch.applied, batch.read = Counter(), 2
    steps = [Advance(0, orders.epoch, None, orders.at)]
    assert orders.committer.apply(batch, steps, again=True) == 0
    assert count_outcomes(batch) == {"written": 2}
