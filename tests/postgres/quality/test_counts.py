"""What broke a rule is counted in the transaction that settles it: each event once, whatever
becomes of the attempts to write it."""

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
    """A mapping with rules, and what has been counted for it."""

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

    def attempt(self, *samples: Sample, again: bool = False, to: int = 100) -> int:
        """Write without noting how far that came, as if the answer had been lost."""
        batch = self.batch(*samples)
        return self.committer.apply(batch, [Advance(0, self.epoch, self.at, to)], again=again)


@pytest.fixture
def make(postgres, site, scratch, scratch_database: str) -> Iterator[Callable[..., Sink]]:
    made: list[Sink] = []

    def make(ddl: str = "id int PRIMARY KEY, score int CHECK (score <> 7), level text") -> Sink:
        scratch.table(ddl)
        name = f"people-{scratch.schema.replace('_', '-')}"
        site.plugin(name, CODE.format(schema=scratch.schema))
        options = {"dsn": scratch.dsn, "admin_dsn": postgres.dsn(scratch_database)}
        made.append(Sink(name, **options))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def person(number: int, **changed: Any) -> Sample:
    return create(**GOOD | {"id": number} | changed)


class TestWhatIsCounted:
    def test_each_rule_by_its_column(self, make: Callable[..., Sink]) -> None:
        sink = make()
        wrong = [{"score": -1}, {"score": 10}, {"score": 11}, {"level": "MID"}, {"id": None}]
        rows = (GOOD | {"id": 2 + i} | change for i, change in enumerate(wrong))
        sink.send(person(1), *(create(**row) for row in rows))
        assert sink.counts() == {
            ("minimum", "score"): 1,
            ("maximum", "score"): 2,
            ("one_of", "level"): 1,
            ("required", "id"): 1,
        }
        assert len(sink.rows()) == 1

    def test_a_rule_of_the_row_has_no_column(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=0), person(2))
        assert sink.counts() == {("level fits", ""): 1}

    def test_a_default_counts_and_is_written(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None), person(2, score=None, level=None), person(3))
        assert sink.counts() == {("default", "score"): 2, ("default", "level"): 1}
        assert [row["score"] for row in sink.rows()] == [5, 5, 1]

    def test_what_is_sound_counts_nothing(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1))
        assert sink.counts() == {}

    def test_batches_of_one_day_add_up(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None), person(2, score=99))
        sink.send(person(3, score=None))
        sink.now = NOW + timedelta(days=1)
        sink.send(person(4, score=None))
        assert sink.counts() == {("default", "score"): 1}
        assert sink.counts(-1) == {("default", "score"): 2, ("maximum", "score"): 1}


class TestOnce:
    sent = 0

    def test_default_of_event_that_breaks_rule_is_none(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, score=None, level="MID"))
        assert sink.counts() == {("one_of", "level"): 1}

    def test_nor_is_that_of_row_that_target_refuses(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.send(person(1, level=None), person(2, score=7, level=None), person(3, score=7))
        assert sink.counts() == {("default", "level"): 1}
        assert len(sink.dead()) >= 2

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(scores=st.lists(st.sampled_from([None, 3, 7, 99]), max_size=12))
    def test_split_batch_counts_the_same(
        self, make: Callable[..., Sink], scores: list[int | None]
    ) -> None:
        sink = self.known = getattr(self, "known", None) or make()
        before = sink.counts()
        # What fails holds up its row, so each example has rows of its own.
        first, self.sent = self.sent, self.sent + len(scores)
        sink.send(*(person(first + i, score=score) for i, score in enumerate(scores)))
        after = sink.counts()
        for rule, score in (("default", None), ("maximum", 99)):
            key = (rule, "score")
            assert after.get(key, 0) - before.get(key, 0) == scores.count(score)

    def test_a_lost_answer_to_a_commit_counts_once(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.attempt(person(1, score=None), person(2, score=99))
        assert sink.attempt(person(1, score=None), person(2, score=99), again=True) == 0
        assert sink.counts() == {("default", "score"): 1, ("maximum", "score"): 1}

    def test_a_connection_that_breaks_counts_nothing(self, make: Callable[..., Sink]) -> None:
        sink = make()
        batch = sink.batch(person(1, score=None), person(2, score=99))
        steps = [Advance(0, sink.epoch, sink.at, 5)]
        write = sink.committer._dead_letters.write

        def broken(connection: Any, dead_letters: Any) -> None:
            write(connection, dead_letters)
            sink.admin.execute(
                "SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid]
            )

        sink.committer._dead_letters.write = broken
        with pytest.raises(RetriableError):
            sink.committer.apply(batch, steps)
        assert sink.counts() == {}
        sink.committer._dead_letters.write = write
        sink.committer.apply(batch, steps, again=True)
        assert sink.counts() == {("default", "score"): 1, ("maximum", "score"): 1}

    def test_commit_that_fails_takes_counts_with_it(
        self, make: Callable[..., Sink], scratch
    ) -> None:
        sink = make(
            "id int PRIMARY KEY, level text, "
            f"score int REFERENCES {scratch.schema}.t DEFERRABLE INITIALLY DEFERRED"
        )
        rows = person(1, level=None), person(2, score=8), person(3, score=99)
        with pytest.raises(RetriableError):
            sink.attempt(*rows)
        assert sink.counts() == {}
        sink.attempt(*rows)
        assert sink.counts() == {("default", "level"): 1, ("maximum", "score"): 1}

    def test_one_who_lost_the_partition_counts_nothing(self, make: Callable[..., Sink]) -> None:
        sink = make()
        sink.committer.claim([0])
        with pytest.raises(FencedError):
            sink.attempt(person(1, score=None), person(2, score=99))
        assert sink.counts() == {}


def test_two_runners_of_mapping_lose_nothing(make: Callable[..., Sink], scratch) -> None:
    sink = make()
    add = "SELECT rows FROM sink.quality_count WHERE mapping = %s FOR UPDATE"
    sink.send(person(1, score=None))
    with psycopg.connect(scratch.dsn) as other:
        other.execute(add, (sink.name,))
        sink.committer.session.open().execute("SET lock_timeout = '100ms'")
        with pytest.raises(RetriableError, match="55P03"):
            sink.send(person(2, score=None))
    sink.send(person(2, score=None))
    assert sink.counts() == {("default", "score"): 2}
