"""A crash after any step neither loses, repeats nor reorders a deferred event."""

from contextlib import suppress
from typing import Any

import pytest

from sink_runner.dlq.deferred_events import DeferredEvents
from sink_runner.errors import FencedError, RetriableError
from sink_runner.testing import Sample, create

pytestmark = pytest.mark.postgres


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


class TestCrashes:
    @pytest.mark.parametrize("point", ["taken", "written", "settled", "committed"])
    @pytest.mark.parametrize("survivor", ["same", "another"])
    def test_crash_neither_loses_nor_repeats_event(
        self, shop: Any, point: str, survivor: str
    ) -> None:
        shop.send(order(1, "a"), order(1, "b"), order(2, "bad"), order(2, "c"))
        shop.customer("Anna")
        shop.crash_after(point)
        with pytest.raises(RetriableError):
            shop.retry()
        is_committed = point == "committed"
        assert shop.notes() == ({1: "b"} if is_committed else {})
        surviving_shop = shop if survivor == "same" else shop.another()
        with suppress(RetriableError):  # the first use of the terminated session fails
            surviving_shop.retry()
        surviving_shop.retry()
        assert surviving_shop.notes() == {1: "b"}
        expected = [("REPLAYED", 1), ("REPLAYED", 1), ("OPEN", 1), ("PARKED", 0)]
        assert surviving_shop.dead_letters("status", "attempts") == expected
        assert not surviving_shop.target.waiting.due()

    def test_runner_without_the_partition_replays_nothing(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")
        other = shop.another()
        with pytest.raises(FencedError):
            shop.retry()
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"])
        assert other.retry() == 1

    def test_new_owner_knows_deferred_events(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        other = shop.another()
        shop.customer("Anna")
        other.send(order(1, "b"), order(2, "c"))
        assert (other.notes(), other.statuses()) == ({2: "c"}, ["PARKED", "PARKED"])
        other.retry()
        assert other.notes() == {1: "b", 2: "c"}

    def test_event_discarded_during_retry_is_not_replayed(
        self, shop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.send(order(1, "a"), order(2, "b"))
        shop.customer("Anna")
        take = DeferredEvents.take

        def take_and_discard(*arguments: Any, **options: Any) -> Any:
            taken = take(*arguments, **options)
            monkeypatch.setattr(DeferredEvents, "take", take)
            shop.target.admin.execute(
                "UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE dlq_id = 1"
            )
            return taken

        monkeypatch.setattr(DeferredEvents, "take", take_and_discard)
        with pytest.raises(RetriableError):
            shop.retry()
        assert shop.notes() == {}
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({2: "b"}, ["DISCARDED", "REPLAYED"])
        assert not shop.target.waiting.due()
