"""A batch, its dead letters and its offsets: all of it, once, or nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.chain.route import Batch
from sink_runner.dead_letters.dead_letter import DeadLetter, DeadLetters
from sink_runner.dead_letters.sealing import Sealer
from sink_runner.errors import EventError, FatalError, FencedError, RetriableError
from sink_runner.kafka.message import Message
from sink_runner.target.applier import Applier
from sink_runner.target.offsets import Advance, Offsets, Topic
from sink_runner.testing import NOW

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"
DDL = "id int PRIMARY KEY, v varchar(5) NOT NULL CHECK (v <> 'bad')"


class Bench:
    """A table, an applier for it, and the partition that both go by."""

    def __init__(
        self, written: Callable[..., Any], ddl: str = DDL, *, name: str | None = "bench"
    ) -> None:
        self.made = written(ddl)
        self.name = name or self.made.name
        self.now = NOW
        self.topic = self.made.scratch.schema
        self.sealer = Sealer(b"k" * 32, "k")
        self.open: list[Applier] = []
        self.applier = self.another()
        self.at: int | None = None
        self.epoch = self.applier.claim([0])[0].epoch

    def another(self) -> Applier:
        with self.made.scratch.session() as session:
            writer = self.made.another(session)
        made = Applier(
            self.name,
            dsn=self.made.scratch.dsn,
            writer=writer,
            offsets=Offsets(self.name, Topic("c", self.topic, "t"), "me"),
            dead_letters=DeadLetters(self.name, "1", self.sealer),
            clock=lambda: self.now,
        )
        self.open.append(made)
        return made

    def change(self, number: int, value: Any) -> Any:
        message = Message(self.topic, 0, number, b"%d" % number, str(value).encode())
        return self.made.row(number, value)._replace(source=message)

    def batch(self, *values: Any) -> Batch:
        return Batch(changes=[self.change(i, value) for i, value in enumerate(values)])

    def step(self, to: int) -> list[Advance]:
        return [Advance(0, self.epoch, self.at, to)]

    def apply(self, batch: Batch, *, again: bool = False) -> int:
        return self.applier.apply(batch, self.step(100), again=again)

    def ids(self) -> list[int]:
        return [row[0] for row in self.made.rows("id")]

    def sql(self, query: str) -> list[tuple]:
        return self.made.scratch.admin.execute(query.encode()).fetchall()

    def letters(self) -> list[int]:
        found = self.sql(f"SELECT \"offset\" FROM sync_dlq WHERE topic = '{self.topic}' ORDER BY 1")
        return [row[0] for row in found]

    def offset(self) -> int | None:
        query = f"SELECT next_offset FROM sink.partition_offset WHERE topic = '{self.topic}'"
        return self.sql(query)[0][0]

    def nothing_happened(self) -> bool:
        return (self.ids(), self.letters(), self.offset()) == ([], [], None)


@pytest.fixture
def bench(written: Callable[..., Any]) -> Iterator[Bench]:
    made = Bench(written)
    yield made
    for applier in made.open:
        applier.close()


class TestBadRows:
    @pytest.mark.parametrize(
        "bad", [{0}, {49}, {0, 49}, {7, 8}, {3, 20, 41}, set(range(50))], ids=str
    )
    def test_exactly_the_bad_ones_are_kept_apart(self, bench: Bench, bad: set[int]) -> None:
        odd = ["too long", None, "bad", "n\0l"]
        values = [odd[i % 4] if i in bad else "ok" for i in range(50)]
        assert bench.apply(bench.batch(*values)) == 50 - len(bad)
        assert set(bench.ids()) == set(range(50)) - bad
        assert bench.letters() == sorted(bad)
        assert bench.offset() == 100

    @settings(
        max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(bad=st.sets(st.integers(0, 15)))
    def test_wherever_they_stand(self, bench: Bench, bad: set[int]) -> None:
        bench.sql(f"WITH d AS (DELETE FROM sync_dlq WHERE topic = '{bench.topic}') SELECT 1")
        bench.sql(f"WITH d AS (DELETE FROM {bench.made.table.sql_name}) SELECT 1")
        bench.apply(bench.batch(*("too long" if i in bad else "ok" for i in range(16))))
        bench.at = 100
        assert (set(bench.ids()), bench.letters()) == (set(range(16)) - bad, sorted(bad))

    @pytest.mark.parametrize("value", [SECRET, "bad", None, "n\0l"])
    def test_no_value_is_in_clear_in_the_letter(self, bench: Bench, value: Any) -> None:
        bench.apply(bench.batch(value))
        ((whole, sealed),) = bench.sql(
            "SELECT concat_ws('|', error_class, sqlstate, error_message, stack_trace), source_data "
            f"FROM sync_dlq WHERE topic = '{bench.topic}'"
        )
        assert SECRET not in whole
        assert bench.sealer.open(sealed, bench.topic, 0, 0).value == str(value).encode()

    def test_two_keys_that_only_the_database_finds_alike_are_no_dead_end(
        self, written: Callable[..., Any]
    ) -> None:
        bench = Bench(written, "id numeric PRIMARY KEY, v text")
        alike = {"key": ("1.0",), "values": ("1.0", "b")}
        bench.apply(Batch(changes=[bench.change(1, "a"), bench.change(2, "b")._replace(**alike)]))
        assert bench.made.rows("v") == [("b",)]
        bench.applier.close()

    def test_a_key_that_no_index_holds_is_the_rows_fault(self, written: Callable[..., Any]) -> None:
        bench = Bench(written, "id text PRIMARY KEY, v text")
        rows = [bench.made.row(key, "v") for key in ("ok", "".join(map(chr, range(256, 9000))))]
        batch = Batch(
            changes=[row._replace(source=bench.change(n, "").source) for n, row in enumerate(rows)]
        )
        assert bench.apply(batch) == 1
        assert bench.letters() == [1]
        bench.applier.close()

    def test_a_value_of_a_type_that_nobody_expected_is_the_rows_fault(self, bench: Bench) -> None:
        batch = bench.batch("ok", "ok")
        batch.changes[0] = batch.changes[0]._replace(values=(0, 5))
        assert bench.apply(batch) == 1
        assert bench.letters() == [0]

    def test_letters_of_the_route_are_written_with_the_batch(self, bench: Bench) -> None:
        batch = bench.batch("ok")
        batch.letters = [DeadLetter(bench.change(7, "x").source, EventError("why"))]
        bench.apply(batch)
        assert (bench.ids(), bench.letters()) == ([0], [7])


class TestTheWorld:
    def failing(self, bench: Bench, how: Callable[[Any], None], when: str = "write") -> None:
        """Have something happen to the session between the write and the commit."""
        target = bench.applier._writer if when == "write" else bench.applier._dead_letters
        write = target.write

        def wrapped(connection: Any, *rest: Any) -> Any:
            done = write(connection, *rest)
            how(connection)
            connection.execute("SELECT 1")
            return done

        target.write = wrapped

    @pytest.mark.parametrize("when", ["write", "letters"])
    def test_a_connection_that_breaks_leaves_nothing(self, bench: Bench, when: str) -> None:
        def kill(connection: Any) -> None:
            bench.sql(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")

        self.failing(bench, kill, when)
        batch = bench.batch("ok", "too long")
        with pytest.raises(RetriableError):
            bench.apply(batch)
        assert bench.nothing_happened()
        assert batch.letters == []

    def test_and_the_next_attempt_opens_another(self, bench: Bench) -> None:
        bench.sql(f"SELECT pg_terminate_backend({bench.applier.open().info.backend_pid}, 5000)")
        with pytest.raises(RetriableError):
            bench.apply(bench.batch("ok", "too long"))
        assert bench.apply(bench.batch("ok", "too long"), again=True) == 1
        assert (bench.ids(), bench.letters()) == ([0], [1])

    def test_a_row_that_someone_holds_is_waited_for(self, bench: Bench) -> None:
        bench.applier.open().execute("SET lock_timeout = '100ms'")
        with bench.made.connection.transaction():
            bench.made.writer.write(bench.made.connection, [bench.made.row(0, "mine")], NOW)
            with pytest.raises(RetriableError, match="55P03"):
                bench.apply(bench.batch("ok", "ok"))
            assert bench.nothing_happened()

    def test_a_privilege_that_was_taken_away_is_nobodys_row(self, bench: Bench) -> None:
        bench.made.scratch.admin.execute(
            f"REVOKE INSERT ON {bench.made.table.sql_name} FROM sink_writer"
        )
        with pytest.raises(RetriableError, match="42501"):
            bench.apply(bench.batch("ok"))
        assert bench.nothing_happened()

    def test_a_column_that_is_gone_stops_the_mapping(self, bench: Bench) -> None:
        bench.made.scratch.admin.execute(f"ALTER TABLE {bench.made.table.sql_name} DROP COLUMN v")
        with pytest.raises(FatalError, match="42703"):
            bench.apply(bench.batch("ok"))

    def test_a_statement_is_cancelled_from_outside(self, bench: Bench) -> None:
        self.failing(bench, lambda connection: connection.execute("SELECT pg_sleep(30)"))
        threading.Timer(0.5, bench.applier.cancel).start()
        started = time.monotonic()
        with pytest.raises(RetriableError, match="57014"):
            bench.apply(bench.batch("ok"))
        assert time.monotonic() - started < 10
        assert bench.nothing_happened()

    def test_cancelling_what_has_ended_is_no_fault(self, bench: Bench) -> None:
        bench.applier.open().close()
        bench.applier.cancel()
        bench.applier.close()
        bench.applier.cancel()

    def test_a_session_that_cannot_be_made_ready_is_closed(self, bench: Bench) -> None:
        bench.applier.close()
        bench.applier._writer.prepare = lambda connection: connection.execute("SELECT 1/0")
        for _ in range(3):
            with pytest.raises(EventError):
                bench.apply(bench.batch("ok"))
        active = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%bench'"
        deadline = time.monotonic() + 5
        while bench.sql(active) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert bench.sql(active) == [(0,)]


class TestOnce:
    def test_a_lost_answer_to_a_commit_is_found_out(self, bench: Bench) -> None:
        assert bench.apply(bench.batch("ok", "too long")) == 1
        assert bench.apply(bench.batch("ok", "too long"), again=True) == 0
        assert bench.letters() == [1]

    def test_an_attempt_that_never_committed_is_made_again(self, bench: Bench) -> None:
        assert bench.apply(bench.batch("ok"), again=True) == 1

    def test_an_offset_that_moved_on_is_no_longer_ours(self, bench: Bench) -> None:
        bench.apply(bench.batch("ok"))
        bench.at = 50
        with pytest.raises(FencedError):
            bench.apply(bench.batch("ok", "ok"))
        assert bench.ids() == [0]

    def test_whoever_claims_next_fences_the_others(self, bench: Bench) -> None:
        other = bench.another()
        claim = other.claim([0])[0]
        assert (claim.epoch, claim.next_offset) == (bench.epoch + 1, None)
        with pytest.raises(FencedError):
            bench.apply(bench.batch("ok"))
        assert bench.nothing_happened()
        bench.epoch = claim.epoch
        assert other.apply(bench.batch("ok"), bench.step(1)) == 1

    def test_a_claim_waits_for_the_batch_that_is_being_written(self, bench: Bench) -> None:
        claims: list[Any] = []
        other = bench.another()
        thread = threading.Thread(target=lambda: claims.append(other.claim([0])[0]))
        write = bench.applier._writer.write

        def slow(*given: Any) -> int:
            thread.start()
            time.sleep(0.3)
            assert claims == []
            return write(*given)

        bench.applier._writer.write = slow
        assert bench.apply(bench.batch("ok")) == 1
        thread.join(10)
        assert [claim.next_offset for claim in claims] == [100]


class TestDeletions:
    """They are remembered by the mapping's name, so its writer has to go by that."""

    @pytest.fixture
    def bench(self, written: Callable[..., Any]) -> Iterator[Bench]:
        made = Bench(written, name=None)
        made.applier.apply(Batch(changes=[made.made.gone(0, position=9)]), made.step(1))
        made.at = 1
        yield made
        for applier in made.open:
            applier.close()

    def later(self, bench: Bench) -> int:
        """Another life of the runner gets an event that is older than the deletion."""
        other = bench.another()
        bench.epoch = other.claim([0])[0].epoch
        return other.apply(bench.batch("old"), bench.step(2))

    def test_an_earlier_lifes_are_heeded(self, bench: Bench) -> None:
        assert self.later(bench) == 0

    @pytest.mark.parametrize(("days", "count"), [(6, 0), (8, 1)])
    def test_they_are_forgotten_in_the_end(self, bench: Bench, days: int, count: int) -> None:
        ((now,),) = bench.sql("SELECT now() AT TIME ZONE 'UTC'")
        bench.now = now + timedelta(days=days)
        bench.applier.maintain(timedelta(days=7))
        assert self.later(bench) == count
