"""A batch with its dead letters and offsets is committed once, completely or not at all."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sink_runner.errors import FencedError, PoliciesChangedError
from sink_runner.model.batch import Batch, Masking
from sink_runner.model.partition import Advance
from sink_runner.plugin import insert_once

from .conftest import CommitterHarness

pytestmark = pytest.mark.postgres


class TestOnce:
    def test_commit_without_answer_is_not_repeated(self, harness: CommitterHarness) -> None:
        assert harness.apply(harness.batch("ok", "too long")) == 1
        assert harness.apply(harness.batch("ok", "too long"), again=True) == 0
        assert harness.dead_letters() == [1]

    def test_uncommitted_attempt_is_repeated(self, harness: CommitterHarness) -> None:
        assert harness.apply(harness.batch("ok"), again=True) == 1

    def test_offset_moved_by_another_is_fenced(self, harness: CommitterHarness) -> None:
        harness.apply(harness.batch("ok"))
        harness.next_offset = 50
        with pytest.raises(FencedError):
            harness.apply(harness.batch("ok", "ok"))
        assert harness.ids() == [0]

    def test_rows_of_old_policies_are_rejected(self, harness: CommitterHarness) -> None:
        current = "old"
        harness.committer = harness.new_committer(policies=lambda: current)
        harness.epoch = harness.committer.claim([0])[0].epoch
        batch = harness.batch("ok")
        batch.masking = Masking(1, "old", ("v",))
        current = "new"
        for again in (False, True):
            with pytest.raises(PoliciesChangedError, match="masking policies have changed"):
                harness.apply(batch, again=again)
        assert harness.is_unchanged()
        current = "old"
        assert harness.apply(batch) == 1
        current = "new"
        assert harness.apply(batch, again=True) == 0

    def test_later_claim_fences_earlier_one(self, harness: CommitterHarness) -> None:
        other = harness.new_committer()
        claim = other.claim([0])[0]
        assert (claim.epoch, claim.next_offset) == (harness.epoch + 1, None)
        with pytest.raises(FencedError):
            harness.apply(harness.batch("ok"))
        assert harness.is_unchanged()
        harness.epoch = claim.epoch
        assert other.apply(harness.batch("ok"), harness.step(1)) == 1

    def test_claim_waits_for_running_batch(self, harness: CommitterHarness) -> None:
        claims: list[Any] = []
        other = harness.new_committer()
        thread = threading.Thread(target=lambda: claims.append(other.claim([0])[0]))
        write = harness.committer._writer.write

        def slow(*arguments: Any) -> int:
            thread.start()
            time.sleep(0.3)
            assert claims == []
            return write(*arguments)

        harness.committer._writer.write = slow
        assert harness.apply(harness.batch("ok")) == 1
        thread.join(60)
        assert [claim.next_offset for claim in claims] == [100]


class TestDeletions:
    """Tombstones are stored under the mapping's name, so the harness uses that name."""

    @pytest.fixture
    def harness(self, written: Callable[..., Any]) -> Iterator[CommitterHarness]:
        harness = CommitterHarness(written, name=None)
        gone = harness.target.gone(0, position=9)
        harness.committer.apply(Batch(changes=[gone]), harness.step(1))
        harness.next_offset = 1
        yield harness
        harness.close()

    def apply_older_event(self, harness: CommitterHarness) -> int:
        """Apply an event that is older than the deletion, as a restarted runner would."""
        other = harness.new_committer()
        harness.epoch = other.claim([0])[0].epoch
        return other.apply(harness.batch("old"), harness.step(2))

    def test_tombstone_of_earlier_run_is_respected(self, harness: CommitterHarness) -> None:
        assert self.apply_older_event(harness) == 0

    @pytest.mark.parametrize(("days", "count"), [(6, 0), (8, 1)])
    def test_tombstone_expires_after_retention(
        self, harness: CommitterHarness, days: int, count: int
    ) -> None:
        harness.target.scratch.admin.execute(
            "UPDATE sink.row_version SET deleted_at = deleted_at - make_interval(days => %s)",
            (days,),
        )
        harness.committer.maintain(timedelta(days=7))
        assert self.apply_older_event(harness) == count


def test_tombstone_of_another_process_is_respected(written: Callable[..., Any]) -> None:
    """A batch removes a row while a runner without tombstones of its own is running."""
    harness = CommitterHarness(written, name=None, conflict=insert_once())
    harness.apply(harness.batch("one"))
    other = harness.new_committer()
    other.claim([1])
    gone = Batch(changes=[harness.target.gone(0, position=9)])
    other.apply(gone, [Advance(1, 1, None, 1)])
    harness.next_offset = 100
    assert harness.committer.apply(harness.batch("old"), harness.step(101)) == 0
    harness.close()
