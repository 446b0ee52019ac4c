"""Events without a key and rows of a batch run: which of them block each other."""

from typing import Any

import pytest

from sink_runner.dlq import retry_queue
from sink_runner.dlq.retry_queue import replay_rows
from sink_runner.model.message import ROWS
from sink_runner.testing import Sample, create

pytestmark = pytest.mark.postgres


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


class TestEventsWithoutKey:
    def send_without_key(self, shop: Any, partition: int, *samples: Sample) -> None:
        messages = [
            message._replace(key=None, partition=partition)
            for message in shop.target.messages(*samples)
        ]
        free, held = shop.target.waiting.split(messages)
        batch = shop.target.prepare(free)
        shop.target.waiting.hold(batch, held)
        shop.target.apply(batch)

    def test_events_block_each_other(self, shop: Any) -> None:
        shop.customer("Maya")
        self.send_without_key(shop, 0, order(1, "a"), order(2, "b", "Maya"))
        self.send_without_key(shop, 0, order(3, "c", "Maya"))
        assert shop.notes() == {}
        shop.customer("Anna")
        shop.retry()
        assert shop.notes() == {1: "a", 2: "b", 3: "c"}

    def test_tombstone_is_deferred_behind_its_row(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        (message,) = shop.target.messages(order(1, "b"))
        assert shop.target.waiting.split([message]) == ([], [message])
        tombstone = message._replace(value=None)
        assert shop.target.waiting.split([tombstone]) == ([], [tombstone])

    def test_rows_of_batch_run_block_no_others(self, shop: Any) -> None:
        shop.customer("Maya")
        self.send_without_key(shop, ROWS, order(1, "a"), order(2, "b", "Maya"), order(3, "c"))
        assert shop.notes() == {2: "b"}


class TestRowsOfBatchRun:
    def defer(self, shop: Any, *samples: Sample, key: bytes | None = b"k") -> None:
        messages = shop.target.messages(*samples)
        batch = shop.target.prepare([m._replace(partition=ROWS, key=key) for m in messages])
        shop.target.waiting.hold(batch)
        shop.target.apply(batch)

    def test_batch_run_retries_its_deferred_rows(self, shop: Any) -> None:
        self.defer(shop, order(1, "a"), order(1, "b"))
        self.defer(shop, order(2, "c"), order(3, "bad"), order(4, "d", "Maya"), key=None)
        shop.customer("Anna")
        assert shop.retry() == 0  # a worker does not retry rows of a batch run
        assert shop.dead_letters("partition") == [None] * 5
        counts = replay_rows(shop.target.waiting, shop.target.prepare)
        assert counts == {"replayed": 3, "written": 3, "dead": 1}
        assert shop.notes() == {1: "b", 2: "c"}
        assert shop.statuses() == ["REPLAYED"] * 3 + ["OPEN", "PARKED"]

    def test_retry_ends_after_round_without_progress(
        self, shop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry_queue, "_KEYS_AT_ONCE", 2)
        self.defer(shop, *(order(n, "a", f"c{n}") for n in range(7)), key=None)
        shop.customer("c6")
        counts = replay_rows(shop.target.waiting, shop.target.prepare)
        assert counts["replayed"] == 1
        assert shop.notes() == {6: "a"}
        assert replay_rows(shop.target.waiting, shop.target.prepare)["replayed"] == 0
