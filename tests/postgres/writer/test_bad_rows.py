"""Rows that the target rejects become dead letters and count against the budget."""

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

from .conftest import SECRET, CommitterHarness

pytestmark = pytest.mark.postgres


class TestBadRows:
    @pytest.mark.parametrize(
        "bad", [{0}, {49}, {0, 49}, {7, 8}, {3, 20, 41}, set(range(50))], ids=str
    )
    def test_exactly_bad_rows_become_dead_letters(
        self, harness: CommitterHarness, bad: set[int]
    ) -> None:
        invalid = ["too long", None, "bad", "n\0l"]
        values = [invalid[i % 4] if i in bad else "ok" for i in range(50)]
        assert harness.apply(harness.batch(*values)) == 50 - len(bad)
        assert set(harness.ids()) == set(range(50)) - bad
        assert harness.dead_letters() == sorted(bad)
        assert harness.stored_offset() == 100

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(bad=st.sets(st.integers(0, 15)))
    def test_bad_rows_are_found_at_any_index(
        self, harness: CommitterHarness, bad: set[int]
    ) -> None:
        harness.sql(
            f"WITH d AS (DELETE FROM sink.dead_letter WHERE topic = '{harness.topic}') SELECT 1"
        )
        harness.sql(f"WITH d AS (DELETE FROM {harness.target.table.sql_name}) SELECT 1")
        harness.apply(harness.batch(*("too long" if i in bad else "ok" for i in range(16))))
        harness.next_offset = 100
        assert (set(harness.ids()), harness.dead_letters()) == (set(range(16)) - bad, sorted(bad))

    @pytest.mark.parametrize("value", [SECRET, "bad", None, "n\0l"])
    def test_dead_letter_contains_no_unmasked_value(
        self, harness: CommitterHarness, value: Any
    ) -> None:
        harness.apply(harness.batch(value))
        ((text, encrypted),) = harness.sql(
            "SELECT concat_ws('|', error_class, sqlstate, error_message, stack_trace), source_data "
            f"FROM sink.dead_letter WHERE topic = '{harness.topic}'"
        )
        assert SECRET not in text
        assert (
            harness.encryptor.decrypt(encrypted, harness.topic, 0, 0).value == str(value).encode()
        )

    def test_keys_equal_only_to_database_are_written(self, written: Callable[..., Any]) -> None:
        harness = CommitterHarness(written, "id numeric PRIMARY KEY, v text")
        equal_key = {"key": ("1.0",), "values": ("1.0", "b")}
        harness.apply(
            Batch(changes=[harness.change(1, "a"), harness.change(2, "b")._replace(**equal_key)])
        )
        assert harness.target.rows("v") == [("b",)]
        harness.committer.session.close()

    def test_key_too_large_for_index_is_data_error(self, written: Callable[..., Any]) -> None:
        harness = CommitterHarness(written, "id text PRIMARY KEY, v text")
        rows = [harness.target.row(key, "v") for key in ("ok", "".join(map(chr, range(256, 9000))))]
        batch = Batch(
            changes=[
                row._replace(source=harness.change(n, "").source) for n, row in enumerate(rows)
            ]
        )
        assert harness.apply(batch) == 1
        assert harness.dead_letters() == [1]
        harness.committer.session.close()

    def test_unexpected_type_is_data_error(self, harness: CommitterHarness) -> None:
        batch = harness.batch("ok", "ok")
        batch.changes[0] = batch.changes[0]._replace(values=(0, 5))
        assert harness.apply(batch) == 1
        assert harness.dead_letters() == [0]

    def test_dead_letters_of_route_are_written_with_batch(self, harness: CommitterHarness) -> None:
        batch = harness.batch("ok")
        batch.dead_letters = [DeadLetter(harness.change(7, "x").source, EventError("why"))]
        harness.apply(batch)
        assert (harness.ids(), harness.dead_letters()) == ([0], [7])


class TestSplitting:
    def attempts(self, harness: CommitterHarness) -> list[int]:
        """Return a list to which each write appends its number of changes."""
        found: list[int] = []
        write = harness.committer._writer.write

        def counted(connection: Any, changes: Any, now: Any) -> int:
            found.append(len(changes))
            return write(connection, changes, now)

        harness.committer._writer.write = counted
        return found

    @pytest.mark.parametrize("index", [0, 2_500, 3_333, 4_999])
    def test_bad_row_is_found_by_bisection(self, harness: CommitterHarness, index: int) -> None:
        attempts = self.attempts(harness)
        values = ["bad" if i == index else "ok" for i in range(5_000)]
        assert harness.apply(harness.batch(*values)) == 4_999
        assert harness.dead_letters() == [index]
        assert len(attempts) <= 2 * math.ceil(math.log2(5_000)) + 1

    def statuses(self, harness: CommitterHarness) -> list[tuple]:
        return harness.sql(
            'SELECT "offset", status, error_message FROM sink.dead_letter '
            f"WHERE topic = '{harness.topic}' ORDER BY dlq_id"
        )

    def test_only_later_events_of_key_are_deferred(self, harness: CommitterHarness) -> None:
        keys = b"kkokkok"
        changes = [
            harness.change(i, "bad" if i == 3 else "ok", keys[i : i + 1]) for i in range(len(keys))
        ]
        batch = Batch(changes=changes)
        assert harness.apply(batch) == 4
        assert harness.ids() == [0, 1, 2, 5]
        reason = "waits behind an earlier event of its row"
        prefix = "refused by the target: CheckViolation"
        ((_, first, text), *rest) = self.statuses(harness)
        assert (first, text.startswith(prefix)) == ("OPEN", True)
        assert rest == [(4, "PARKED", reason), (6, "PARKED", reason)]

    def test_second_bad_event_of_key_is_deferred(self, harness: CommitterHarness) -> None:
        harness.apply(Batch(changes=[harness.change(i, "bad", b"k") for i in range(4)]))
        assert [status for _, status, _ in self.statuses(harness)] == ["OPEN", *["PARKED"] * 3]

    @pytest.mark.parametrize("others", range(4))
    def test_event_is_applied_completely_or_not(
        self, harness: CommitterHarness, others: int
    ) -> None:
        harness.apply(harness.batch("ok"))
        harness.next_offset = 100
        moved = harness.change(9, "bad")
        gone = harness.target.gone(0, position=9)._replace(source=moved.source)
        before = [harness.change(20 + i, "ok") for i in range(others)]
        batch = Batch(changes=[*before, gone, moved, harness.change(30, "ok")])
        harness.committer.apply(batch, harness.step(200))
        assert harness.ids() == [0, *range(20, 20 + others), 30]
        assert harness.dead_letters() == [9]

    def test_dead_letters_are_numbered_in_event_order(self, harness: CommitterHarness) -> None:
        """Dead letters are replayed in the order of their ids."""
        batch = Batch(changes=[harness.change(1, "bad"), harness.change(3, "ok")])
        batch.dead_letters = [
            DeadLetter(harness.change(i, "x").source, EventError("y")) for i in (2, 0)
        ]
        harness.apply(batch)
        assert [offset for offset, *_ in self.statuses(harness)] == [0, 1, 2]

    def test_rejected_rows_are_known_after_lost_answer(self, harness: CommitterHarness) -> None:
        """Otherwise later events of the key would be applied before it."""
        batch = harness.batch("ok", "bad")
        harness.apply(batch)
        again = harness.batch("ok", "bad")
        assert harness.apply(again, again=True) == 0
        assert [dead_letter.message.offset for dead_letter in again.dead_letters] == [1]

    def test_next_batch_clears_last_dead_letters(self, harness: CommitterHarness) -> None:
        harness.apply(harness.batch("ok", "bad"))
        kept, harness.next_offset = [], 100
        batch, step = harness.batch("ok"), harness.step(200)
        harness.committer.apply(
            batch, step, record=lambda *_: kept.append(harness.committer._last_dead_letters)
        )
        assert kept == [[]]

    def test_row_of_deferred_constraint_is_found(self, written: Callable[..., Any]) -> None:
        harness = CommitterHarness(written, "id int PRIMARY KEY, v int")
        name = harness.target.table.sql_name
        harness.target.scratch.admin.execute(
            f"ALTER TABLE {name} ADD FOREIGN KEY (v) REFERENCES {name} (id) "
            "DEFERRABLE INITIALLY DEFERRED".encode()
        )
        with pytest.raises(RetriableError, match="at the commit"):
            harness.apply(harness.batch(0, 1, 5))
        assert harness.is_unchanged()
        assert harness.apply(harness.batch(0, 1, 5), again=True) == 2
        assert (harness.ids(), harness.dead_letters()) == ([0, 1], [2])
        harness.committer.session.close()

    @pytest.mark.parametrize("timing", ["", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
    def test_first_row_keeps_a_unique_value(self, written: Callable[..., Any], timing: str) -> None:
        harness = CommitterHarness(written, f"id int PRIMARY KEY, v int UNIQUE {timing}")
        assert harness.apply(harness.batch(5, 6, 5)) == 2
        assert (harness.ids(), harness.dead_letters()) == ([0, 1], [2])
        harness.committer.session.close()


class TestBudget:
    def budget_harness(
        self, written: Callable[..., Any], share: float | None = None
    ) -> CommitterHarness:
        harness = CommitterHarness(written, name=None)
        harness.committer.session.close()
        harness.committer = harness.new_committer(budget=Budget(harness.name, 3, share))
        return harness

    def exceed_budget(self, harness: CommitterHarness, *values: str) -> str:
        before = harness.ids(), harness.dead_letters(), harness.stored_offset()
        with pytest.raises(FatalError) as caught:
            harness.committer.apply(
                harness.batch(*values), harness.step((harness.next_offset or 0) + 100)
            )
        assert (harness.ids(), harness.dead_letters(), harness.stored_offset()) == before
        return str(caught.value)

    def test_dead_letter_above_budget_writes_nothing(self, written: Callable[..., Any]) -> None:
        harness = self.budget_harness(written)
        error = self.exceed_budget(harness, "ok", "bad", "bad", "bad", "bad")
        assert f"mapping {harness.name!r}" in error
        assert "more than 3" in error
        assert f"sink-runner dlq list --mapping {harness.name}" in error
        assert harness.apply(harness.batch("ok", "bad", "bad", "bad")) == 1
        harness.committer.session.close()

    def test_open_dead_letters_of_earlier_runs_count(self, written: Callable[..., Any]) -> None:
        harness = self.budget_harness(written)
        harness.apply(harness.batch("bad", "bad", "bad"))
        harness.next_offset = 100
        harness.committer.session.close()
        harness.committer = harness.new_committer(budget=Budget(harness.name, 3))
        self.exceed_budget(harness, "bad")
        condition = f"WHERE flow = '{harness.name}'"
        harness.target.scratch.admin.execute(
            f"UPDATE sink.dead_letter SET status = 'DISCARDED' {condition}"
        )
        assert harness.committer.apply(harness.batch("bad", "ok"), harness.step(200)) == 1
        harness.committer.session.close()

    def test_deferred_events_and_batch_rows_do_not_count(self, written: Callable[..., Any]) -> None:
        harness = self.budget_harness(written)
        same = [harness.change(i, "bad", b"k") for i in range(6)]
        rows = [change._replace(source=change.source._replace(partition=ROWS)) for change in same]
        harness.committer.apply(Batch(changes=[*same, *rows]), harness.step(100))
        assert harness.committer._budget.open(harness.committer.session.open()) == 1
        harness.committer.session.close()

    def test_exceeded_share_stops_mapping(self, written: Callable[..., Any]) -> None:
        harness = self.budget_harness(written, share=0.01)
        error = self.exceed_budget(harness, *["bad"] * 2, *["ok"] * 98)
        assert "2 of 100 events failed, more than 1%" in error
        harness.apply(harness.batch(*["bad"], *["ok"] * 99))
        harness.committer.session.close()

    def test_share_is_ignored_for_small_batch(self, written: Callable[..., Any]) -> None:
        harness = self.budget_harness(written, share=0.01)
        assert harness.apply(harness.batch(*["bad"] * 3, *["ok"] * 90)) == 90
        harness.committer.session.close()


def test_programming_error_does_not_become_dead_letter(
    harness: CommitterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TypeError is a data error only while a value is sent; before that it is a bug."""

    def broken(*_: object) -> None:
        raise TypeError

    monkeypatch.setattr(writer, "_with_controls", broken)
    batch = harness.batch("ok")
    batch.changes[0] = batch.changes[0]._replace(partial=True)
    with pytest.raises(TypeError):
        harness.apply(batch)
    assert harness.is_unchanged()
