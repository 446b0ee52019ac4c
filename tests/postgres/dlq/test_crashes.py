"""Whatever dies at whatever moment: no deferred event is lost, doubled or overtaken."""

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
    @pytest.mark.parametrize("survivor", ["itself", "another"])
    def test_neither_lose_nor_repeat_an_event(self, shop: Any, point: str, survivor: str) -> None:
        shop.send(order(1, "a"), order(1, "b"), order(2, "bad"), order(2, "c"))
        shop.customer("Anna")
        shop.crash(point)
        with pytest.raises(RetriableError):
            shop.retry()
        done = point == "committed"
        assert shop.notes() == ({1: "b"} if done else {})
        left = shop if survivor == "itself" else shop.another()
        with suppress(RetriableError):  # the first to notice that the session is gone
            left.retry()
        left.retry()
        assert left.notes() == {1: "b"}
        expected = [("REPLAYED", 1), ("REPLAYED", 1), ("OPEN", 1), ("PARKED", 0)]
        assert left.dead_letters("status", "attempts") == expected
        assert not left.target.waiting.due()

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

    def test_what_a_person_settles_meanwhile_is_not_replayed(
        self, shop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.send(order(1, "a"), order(2, "b"))
        shop.customer("Anna")
        take = DeferredEvents.take

        def slow(*given: Any, **options: Any) -> Any:
            found = take(*given, **options)
            monkeypatch.setattr(DeferredEvents, "take", take)
            shop.target.admin.execute(
                "UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE dlq_id = 1"
            )
            return found

        monkeypatch.setattr(DeferredEvents, "take", slow)
        with pytest.raises(RetriableError):
            shop.retry()
        assert shop.notes() == {}
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({2: "b"}, ["DISCARDED", "REPLAYED"])
        assert not shop.target.waiting.due()
