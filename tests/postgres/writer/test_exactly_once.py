"""A batch, its dead letters and its offsets: all of it, once, or nothing."""

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

from .conftest import Bench

pytestmark = pytest.mark.postgres


class TestOnce:
    def test_lost_answer_to_commit_is_found_out(self, bench: Bench) -> None:
        assert bench.apply(bench.batch("ok", "too long")) == 1
        assert bench.apply(bench.batch("ok", "too long"), again=True) == 0
        assert bench.dead_letters() == [1]

    def test_an_attempt_that_never_committed_is_made_again(self, bench: Bench) -> None:
        assert bench.apply(bench.batch("ok"), again=True) == 1

    def test_offset_that_moved_on_is_no_longer_ours(self, bench: Bench) -> None:
        bench.apply(bench.batch("ok"))
        bench.at = 50
        with pytest.raises(FencedError):
            bench.apply(bench.batch("ok", "ok"))
        assert bench.ids() == [0]

    def test_rows_of_old_policies_are_rejected(self, bench: Bench) -> None:
        held = "old"
        bench.committer = bench.another(policies=lambda: held)
        bench.epoch = bench.committer.claim([0])[0].epoch
        batch = bench.batch("ok")
        batch.masking = Masking(1, "old", ("v",))
        held = "new"
        for again in (False, True):
            with pytest.raises(PoliciesChangedError, match="masking policies have changed"):
                bench.apply(batch, again=again)
        assert bench.nothing_happened()
        held = "old"
        assert bench.apply(batch) == 1
        held = "new"
        assert bench.apply(batch, again=True) == 0

    def test_whoever_claims_next_fences_the_others(self, bench: Bench) -> None:
        other = bench.another()
        claim = other.claim([0])[0]
        assert (claim.epoch, claim.next_offset) == (bench.epoch + 1, None)
        with pytest.raises(FencedError):
            bench.apply(bench.batch("ok"))
        assert bench.nothing_happened()
        bench.epoch = claim.epoch
        assert other.apply(bench.batch("ok"), bench.step(1)) == 1

    def test_claim_waits_for_batch_that_is_being_written(self, bench: Bench) -> None:
        claims: list[Any] = []
        other = bench.another()
        thread = threading.Thread(target=lambda: claims.append(other.claim([0])[0]))
        write = bench.committer._writer.write

        def slow(*given: Any) -> int:
            thread.start()
            time.sleep(0.3)
            assert claims == []
            return write(*given)

        bench.committer._writer.write = slow
        assert bench.apply(bench.batch("ok")) == 1
        thread.join(10)
        assert [claim.next_offset for claim in claims] == [100]


class TestDeletions:
    """They are remembered by the mapping's name, so its writer has to go by that."""

    @pytest.fixture
    def bench(self, written: Callable[..., Any]) -> Iterator[Bench]:
        made = Bench(written, name=None)
        made.committer.apply(Batch(changes=[made.made.gone(0, position=9)]), made.step(1))
        made.at = 1
        yield made
        for committer in made.open:
            committer.session.close()

    def later(self, bench: Bench) -> int:
        """Another life of the runner gets an event that is older than the deletion."""
        other = bench.another()
        bench.epoch = other.claim([0])[0].epoch
        return other.apply(bench.batch("old"), bench.step(2))

    def test_an_earlier_lifes_are_heeded(self, bench: Bench) -> None:
        assert self.later(bench) == 0

    @pytest.mark.parametrize(("days", "count"), [(6, 0), (8, 1)])
    def test_they_are_forgotten_in_the_end(self, bench: Bench, days: int, count: int) -> None:
        bench.made.scratch.admin.execute(
            "UPDATE sink.row_version SET deleted_at = deleted_at - make_interval(days => %s)",
            (days,),
        )
        bench.committer.maintain(timedelta(days=7))
        assert self.later(bench) == count


def test_what_another_process_deletes_meanwhile_is_heeded(written: Callable[..., Any]) -> None:
    """A batch retires a row while the runner runs, which has deleted nothing so far."""
    bench = Bench(written, name=None, conflict=insert_once())
    bench.apply(bench.batch("one"))
    other = bench.another()
    other.claim([1])
    gone = Batch(changes=[bench.made.gone(0, position=9)])
    other.apply(gone, [Advance(1, 1, None, 1)])
    bench.at = 100
    assert bench.committer.apply(bench.batch("old"), bench.step(101)) == 0
    for committer in bench.open:
        committer.session.close()
