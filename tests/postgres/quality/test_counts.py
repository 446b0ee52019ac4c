"""A broken rule is counted once per event, in the transaction that settles the event."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.errors import FencedError, RetriableError
from sink_runner.model.partition import Advance
from sink_runner.testing import NOW, Sample, TargetHarness, create

pytestmark = pytest.mark.postgres
CODE = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.{schema}.t", key=("id",),
        conflict=source_wins(),
        columns=(
            Column("id", required=True),
            Column("score", minimum=0, maximum=9, default=5),
            Column("level", one_of=frozenset({{"LOW", "HIGH"}}), default="LOW"),
        ),
        rules=(Rule("level fits", lambda row: (row["level"], row["score"]) != ("HIGH", 0),
                    ("level", "score")),),
    )
"""
GOOD = {"id": 1, "score": 1, "level": "HIGH"}


class Sink(TargetHarness):
    """A mapping with rules, and its quality counts."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.name = name

    def counts(self, days: int = 0) -> dict[tuple[str, str], int]:
        query = (
            "SELECT rule, column_name, rows FROM sink.quality_count WHERE mapping = %s AND day = %s"
        )
        day = (self.now + timedelta(days)).date()
        rows = self.admin.execute(query, (self.name, day)).fetchall()
        return {(row["rule"], row["column_name"]): row["rows"] for row in rows}

    def send_unacknowledged(self, *samples: Sample, again: bool = False, to: int = 100) -> int:
        """Write without storing the new position, as if the response to the commit was lost."""
        batch = self.batch(*samples)
        return self.committer.apply(batch, [Advance(0, self.epoch, self.at, to)], again=again)


@pytest.fixture
def make(postgres, site, scratch, scratch_database: str) -> Iterator[Callable[..., Sink]]:
    sinks: list[Sink] = []

    def make(ddl: str = "id int PRIMARY KEY, score int CHECK (score <> 7), level text") -> Sink:
        scratch.table(ddl)
        name = f"people-{scratch.schema.replace('_', '-')}"
        site.plugin(name, CODE.format(schema=scratch.schema))
        options = {"dsn": scratch.dsn, "admin_dsn": postgres.dsn(scratch_database)}
        sinks.append(Sink(name, **options))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def person(number: int, **changes: Any) -> Sample:
    return create(**GOOD | {"id": number} | changes)


class TestCounts:
    def test_each_rule_is_counted_by_column(self, make: Callable[..., Sink]) -> None:
        sink = make()
        invalid = [{"score": -1}, {"score": 10}, {"score": 11}, {"level": "MID"}, {"id": None}]
        rows = (GOOD | {"id": 2 + i} | change for i, change in enumerate(invalid))
        sink.send(person(1), *(create(**row) for row in rows))
        assert sink.counts() == {
            ("minimum", "score"): 1,
            ("maximum", "score"): 2,
            ("one_of", "level"): 1,
            ("required", "id"): 1,
        }
        assert len(sink.rows()) == 1

    def test_row_rule_is_counted_without_column(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=0), person(2))
        assert sink.counts() == {("level fits", ""): 1}

    def test_default_is_counted_and_written(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None), person(2, score=None, level=None), person(3))
        assert sink.counts() == {("default", "score"): 2, ("default", "level"): 1}
        assert [row["score"] for row in sink.rows()] == [5, 5, 1]

    def test_valid_row_is_not_counted(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1))
        assert sink.counts() == {}

    def test_counts_of_a_day_add_up(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None), person(2, score=99))
        sink.send(person(3, score=None))
        sink.now = NOW + timedelta(days=1)
        sink.send(person(4, score=None))
        assert sink.counts() == {("default", "score"): 1}
        assert sink.counts(-1) == {("default", "score"): 2, ("maximum", "score"): 1}


class TestEachEventCountsOnce:
    next_id = 0

    def test_default_of_invalid_row_is_not_counted(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None, level="MID"))
        assert sink.counts() == {("one_of", "level"): 1}

    def test_default_of_rejected_row_is_not_counted(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, level=None), person(2, score=7, level=None), person(3, score=7))
        assert sink.counts() == {("default", "level"): 1}
        assert len(sink.dead()) >= 2

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(scores=st.lists(st.sampled_from([None, 3, 7, 99]), max_size=12))
    def test_split_batch_counts_the_same(
        self, make: Callable[..., Sink], scores: list[int | None]
    ) -> None:
        sink = self.shared_sink = getattr(self, "shared_sink", None) or make()
        before = sink.counts()
        # A dead letter blocks its row, so each example uses new rows.
        first, self.next_id = self.next_id, self.next_id + len(scores)
        sink.send(*(person(first + i, score=score) for i, score in enumerate(scores)))
        after = sink.counts()
        for rule, score in (("default", None), ("maximum", 99)):
            key = (rule, "score")
            assert after.get(key, 0) - before.get(key, 0) == scores.count(score)

    def test_unacknowledged_commit_is_counted_once(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send_unacknowledged(person(1, score=None), person(2, score=99))
        assert sink.send_unacknowledged(person(1, score=None), person(2, score=99), again=True) == 0
        assert sink.counts() == {("default", "score"): 1, ("maximum", "score"): 1}

    def test_lost_connection_counts_nothing(self, make: Callable[..., Sink]) -> None:
        sink = make()
        batch = sink.batch(person(1, score=None), person(2, score=99))
        steps = [Advance(0, sink.epoch, sink.at, 5)]
        write = sink.committer._dead_letters.write

        def write_and_disconnect(connection: Any, dead_letters: Any) -> None:
            write(connection, dead_letters)
            sink.admin.execute(
                "SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid]
            )

        sink.committer._dead_letters.write = write_and_disconnect
        with pytest.raises(RetriableError):
            sink.committer.apply(batch, steps)
        assert sink.counts() == {}
        sink.committer._dead_letters.write = write
        sink.committer.apply(batch, steps, again=True)
        assert sink.counts() == {("default", "score"): 1, ("maximum", "score"): 1}

    def test_failed_commit_counts_nothing(self, make: Callable[..., Sink], scratch) -> None:
        sink = make(
            "id int PRIMARY KEY, level text, "
            f"score int REFERENCES {scratch.schema}.t DEFERRABLE INITIALLY DEFERRED"
        )
        rows = person(1, level=None), person(2, score=8), person(3, score=99)
        with pytest.raises(RetriableError):
            sink.send_unacknowledged(*rows)
        assert sink.counts() == {}
        sink.send_unacknowledged(*rows)
        assert sink.counts() == {("default", "level"): 1, ("maximum", "score"): 1}

    def test_fenced_runner_counts_nothing(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.committer.claim([0])
        with pytest.raises(FencedError):
            sink.send_unacknowledged(person(1, score=None), person(2, score=99))
        assert sink.counts() == {}


def test_two_runners_of_mapping_lose_no_count(make: Callable[..., Sink], scratch) -> None:
    sink = make()
    lock_count = "SELECT rows FROM sink.quality_count WHERE mapping = %s FOR UPDATE"
    sink.send(person(1, score=None))
    with psycopg.connect(scratch.dsn) as other:
        other.execute(lock_count, (sink.name,))
        sink.committer.session.open().execute("SET lock_timeout = '100ms'")
        with pytest.raises(RetriableError, match="55P03"):
            sink.send(person(2, score=None))
    sink.send(person(2, score=None))
    assert sink.counts() == {("default", "score"): 2}
