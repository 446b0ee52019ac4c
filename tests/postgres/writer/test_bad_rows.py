"""Rows that the target refuses: found, kept apart, and counted against the budget."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.errors import (
    EventError,
    FatalError,
    RetriableError,
)
from sink_runner.model.batch import Batch
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.model.message import ROWS
from sink_runner.writer import writer
from sink_runner.writer.budget import Budget

from .conftest import SECRET, Bench

pytestmark = pytest.mark.postgres


class TestBadRows:
    @pytest.mark.parametrize(
        "bad", [{0}, {49}, {0, 49}, {7, 8}, {3, 20, 41}, set(range(50))], ids=str
    )
    def test_exactly_the_bad_ones_are_kept_apart(self, bench: Bench, bad: set[int]) -> None:
        odd = ["too long", None, "bad", "n\0l"]
        values = [odd[i % 4] if i in bad else "ok" for i in range(50)]
        assert bench.apply(bench.batch(*values)) == 50 - len(bad)
        assert set(bench.ids()) == set(range(50)) - bad
        assert bench.dead_letters() == sorted(bad)
        assert bench.offset() == 100

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(bad=st.sets(st.integers(0, 15)))
    def test_wherever_they_stand(self, bench: Bench, bad: set[int]) -> None:
        bench.sql(
            f"WITH d AS (DELETE FROM sink.dead_letter WHERE topic = '{bench.topic}') SELECT 1"
        )
        bench.sql(f"WITH d AS (DELETE FROM {bench.made.table.sql_name}) SELECT 1")
        bench.apply(bench.batch(*("too long" if i in bad else "ok" for i in range(16))))
        bench.at = 100
        assert (set(bench.ids()), bench.dead_letters()) == (set(range(16)) - bad, sorted(bad))

    @pytest.mark.parametrize("value", [SECRET, "bad", None, "n\0l"])
    def test_no_value_is_in_clear_in_dead_letter(self, bench: Bench, value: Any) -> None:
        bench.apply(bench.batch(value))
        ((whole, encrypted),) = bench.sql(
            "SELECT concat_ws('|', error_class, sqlstate, error_message, stack_trace), source_data "
            f"FROM sink.dead_letter WHERE topic = '{bench.topic}'"
        )
        assert SECRET not in whole
        assert bench.encryptor.decrypt(encrypted, bench.topic, 0, 0).value == str(value).encode()

    def test_keys_equal_only_to_database_are_written(self, written: Callable[..., Any]) -> None:
        bench = Bench(written, "id numeric PRIMARY KEY, v text")
        alike = {"key": ("1.0",), "values": ("1.0", "b")}
        bench.apply(Batch(changes=[bench.change(1, "a"), bench.change(2, "b")._replace(**alike)]))
        assert bench.made.rows("v") == [("b",)]
        bench.committer.session.close()

    def test_key_that_no_index_holds_is_rows_fault(self, written: Callable[..., Any]) -> None:
        bench = Bench(written, "id text PRIMARY KEY, v text")
        rows = [bench.made.row(key, "v") for key in ("ok", "".join(map(chr, range(256, 9000))))]
        batch = Batch(
            changes=[row._replace(source=bench.change(n, "").source) for n, row in enumerate(rows)]
        )
        assert bench.apply(batch) == 1
        assert bench.dead_letters() == [1]
        bench.committer.session.close()

    def test_unexpected_type_is_data_error(self, bench: Bench) -> None:
        batch = bench.batch("ok", "ok")
        batch.changes[0] = batch.changes[0]._replace(values=(0, 5))
        assert bench.apply(batch) == 1
        assert bench.dead_letters() == [0]

    def test_dead_letters_of_route_are_written_with_batch(self, bench: Bench) -> None:
        batch = bench.batch("ok")
        batch.dead_letters = [DeadLetter(bench.change(7, "x").source, EventError("why"))]
        bench.apply(batch)
        assert (bench.ids(), bench.dead_letters()) == ([0], [7])


class TestSplitting:
    def attempts(self, bench: Bench) -> list[int]:
        """How many changes each attempt to write has."""
        found: list[int] = []
        write = bench.committer._writer.write

        def counted(connection: Any, changes: Any, now: Any) -> int:
            found.append(len(changes))
            return write(connection, changes, now)

        bench.committer._writer.write = counted
        return found

    @pytest.mark.parametrize("at", [0, 2_500, 3_333, 4_999])
    def test_bad_row_is_found_in_few_steps(self, bench: Bench, at: int) -> None:
        attempts = self.attempts(bench)
        values = ["bad" if i == at else "ok" for i in range(5_000)]
        assert bench.apply(bench.batch(*values)) == 4_999
        assert bench.dead_letters() == [at]
        assert len(attempts) <= 2 * math.ceil(math.log2(5_000)) + 1

    def statuses(self, bench: Bench) -> list[tuple]:
        return bench.sql(
            'SELECT "offset", status, error_message FROM sink.dead_letter '
            f"WHERE topic = '{bench.topic}' ORDER BY dlq_id"
        )

    def test_only_later_events_of_key_wait(self, bench: Bench) -> None:
        keys = b"kkokkok"
        changes = [
            bench.change(i, "bad" if i == 3 else "ok", keys[i : i + 1]) for i in range(len(keys))
        ]
        batch = Batch(changes=changes)
        assert bench.apply(batch) == 4
        assert bench.ids() == [0, 1, 2, 5]
        why = "waits behind an earlier event of its row"
        refused = "refused by the target: CheckViolation"
        ((_, first, text), *rest) = self.statuses(bench)
        assert (first, text.startswith(refused)) == ("OPEN", True)
        assert rest == [(4, "PARKED", why), (6, "PARKED", why)]

    def test_second_bad_one_of_key_only_waits(self, bench: Bench) -> None:
        bench.apply(Batch(changes=[bench.change(i, "bad", b"k") for i in range(4)]))
        assert [status for _, status, _ in self.statuses(bench)] == ["OPEN", *["PARKED"] * 3]

    @pytest.mark.parametrize("others", range(4))
    def test_event_is_applied_whole_or_not(self, bench: Bench, others: int) -> None:
        bench.apply(bench.batch("ok"))
        bench.at = 100
        moved = bench.change(9, "bad")
        gone = bench.made.gone(0, position=9)._replace(source=moved.source)
        before = [bench.change(20 + i, "ok") for i in range(others)]
        batch = Batch(changes=[*before, gone, moved, bench.change(30, "ok")])
        bench.committer.apply(batch, bench.step(200))
        assert bench.ids() == [0, *range(20, 20 + others), 30]
        assert bench.dead_letters() == [9]

    def test_dead_letters_are_numbered_in_event_order(self, bench: Bench) -> None:
        """Their numbers are what they are replayed by."""
        batch = Batch(changes=[bench.change(1, "bad"), bench.change(3, "ok")])
        batch.dead_letters = [
            DeadLetter(bench.change(i, "x").source, EventError("y")) for i in (2, 0)
        ]
        bench.apply(batch)
        assert [offset for offset, *_ in self.statuses(bench)] == [0, 1, 2]

    def test_refused_rows_survive_a_lost_commit_answer(self, bench: Bench) -> None:
        """Whoever did not know would let the later events of the key overtake it."""
        batch = bench.batch("ok", "bad")
        bench.apply(batch)
        again = bench.batch("ok", "bad")
        assert bench.apply(again, again=True) == 0
        assert [dead_letter.message.offset for dead_letter in again.dead_letters] == [1]

    def test_next_batch_releases_the_dead_letters(self, bench: Bench) -> None:
        bench.apply(bench.batch("ok", "bad"))
        held, bench.at = [], 100
        batch, step = bench.batch("ok"), bench.step(200)
        bench.committer.apply(
            batch, step, record=lambda *_: held.append(bench.committer._last_dead_letters)
        )
        assert held == [[]]

    def test_deferred_constraint_finds_its_row(self, written: Callable[..., Any]) -> None:
        bench = Bench(written, "id int PRIMARY KEY, v int")
        name = bench.made.table.sql_name
        bench.made.scratch.admin.execute(
            f"ALTER TABLE {name} ADD FOREIGN KEY (v) REFERENCES {name} (id) "
            "DEFERRABLE INITIALLY DEFERRED".encode()
        )
        with pytest.raises(RetriableError, match="at the commit"):
            bench.apply(bench.batch(0, 1, 5))
        assert bench.nothing_happened()
        assert bench.apply(bench.batch(0, 1, 5), again=True) == 2
        assert (bench.ids(), bench.dead_letters()) == ([0, 1], [2])
        bench.committer.session.close()

    @pytest.mark.parametrize("timing", ["", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
    def test_first_row_keeps_a_unique_value(self, written: Callable[..., Any], timing: str) -> None:
        bench = Bench(written, f"id int PRIMARY KEY, v int UNIQUE {timing}")
        assert bench.apply(bench.batch(5, 6, 5)) == 2
        assert (bench.ids(), bench.dead_letters()) == ([0, 1], [2])
        bench.committer.session.close()


class TestTheBudget:
    def bench(self, written: Callable[..., Any], share: float | None = None) -> Bench:
        bench = Bench(written, name=None)
        bench.committer.session.close()
        bench.committer = bench.another(budget=Budget(bench.name, 3, share))
        return bench

    def stopped(self, bench: Bench, *values: str) -> str:
        before = bench.ids(), bench.dead_letters(), bench.offset()
        with pytest.raises(FatalError) as caught:
            bench.committer.apply(bench.batch(*values), bench.step((bench.at or 0) + 100))
        assert (bench.ids(), bench.dead_letters(), bench.offset()) == before
        return str(caught.value)

    def test_dead_letter_above_budget_writes_nothing(self, written: Callable[..., Any]) -> None:
        bench = self.bench(written)
        told = self.stopped(bench, "ok", "bad", "bad", "bad", "bad")
        assert f"mapping {bench.name!r}" in told
        assert "more than 3" in told
        assert f"sink-runner dlq list --mapping {bench.name}" in told
        assert bench.apply(bench.batch("ok", "bad", "bad", "bad")) == 1
        bench.committer.session.close()

    def test_open_dead_letters_of_earlier_runs_count(self, written: Callable[..., Any]) -> None:
        bench = self.bench(written)
        bench.apply(bench.batch("bad", "bad", "bad"))
        bench.at = 100
        bench.committer.session.close()
        bench.committer = bench.another(budget=Budget(bench.name, 3))
        self.stopped(bench, "bad")
        of = f"WHERE flow = '{bench.name}'"
        bench.made.scratch.admin.execute(f"UPDATE sink.dead_letter SET status = 'DISCARDED' {of}")
        assert bench.committer.apply(bench.batch("bad", "ok"), bench.step(200)) == 1
        bench.committer.session.close()

    def test_deferred_events_and_batch_rows_do_not_count(self, written: Callable[..., Any]) -> None:
        bench = self.bench(written)
        same = [bench.change(i, "bad", b"k") for i in range(6)]
        rows = [change._replace(source=change.source._replace(partition=ROWS)) for change in same]
        bench.committer.apply(Batch(changes=[*same, *rows]), bench.step(100))
        assert bench.committer._budget.open(bench.committer.session.open()) == 1
        bench.committer.session.close()

    def test_share_of_batch_stops_it_as_well(self, written: Callable[..., Any]) -> None:
        bench = self.bench(written, share=0.01)
        told = self.stopped(bench, *["bad"] * 2, *["ok"] * 98)
        assert "2 of 100 events failed, more than 1%" in told
        bench.apply(bench.batch(*["bad"], *["ok"] * 99))
        bench.committer.session.close()

    def test_of_few_events_a_share_says_nothing(self, written: Callable[..., Any]) -> None:
        bench = self.bench(written, share=0.01)
        assert bench.apply(bench.batch(*["bad"] * 3, *["ok"] * 90)) == 90
        bench.committer.session.close()


def test_programming_error_is_no_dead_letter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TypeError while a value is sent is the value's; before that it is ours."""

    def broken(*_: object) -> None:
        raise TypeError

    monkeypatch.setattr(writer, "_with_controls", broken)
    batch = bench.batch("ok")
    batch.changes[0] = batch.changes[0]._replace(partial=True)
    with pytest.raises(TypeError):
        bench.apply(batch)
    assert bench.nothing_happened()
