"""A retry reads deferred events in portions of bounded size."""

from typing import Any

import pytest

from sink_runner.dlq.retry_queue import replay_rows
from sink_runner.testing import NOW, Sample, create

pytestmark = pytest.mark.postgres

MAX_BYTES = 4_000


def order(identity: int, note: str = "a", customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer).at(NOW, 1)


class RetrySizes:
    """Limits the payload that a retry reads, and records the size of each retry."""

    def __init__(self, shop: Any, max_bytes: int = MAX_BYTES) -> None:
        self.sizes: list[int] = []
        self._prepare = shop.target.prepare
        shop.target.prepare = self._prepare_and_record
        shop.target.waiting._deferred.most_bytes = max_bytes

    def _prepare_and_record(self, messages: Any) -> Any:
        self.sizes.append(sum(len(one.value) for one in messages))
        return self._prepare(messages)


def pad_events(shop: Any, size: int) -> None:
    """Make each later event this many bytes longer."""
    messages = shop.target.messages

    def pad_messages(*samples: Sample) -> Any:
        return [m._replace(value=m.value + bytes(size)) for m in messages(*samples)]

    shop.target.messages = pad_messages


@pytest.fixture(params=["shop", "superseding_shop"])
def any_shop(request: Any) -> Any:
    return request.getfixturevalue(request.param)


def test_retry_reads_at_most_limit(any_shop: Any) -> None:
    shop = any_shop
    pad_events(shop, 1_000)
    shop.send(*(order(number) for number in range(40)))
    shop.customer("Anna")
    retries = RetrySizes(shop)
    for _ in range(40):
        shop.retry()
    assert len(shop.notes()) == 40
    assert max(retries.sizes) <= MAX_BYTES
    assert set(shop.statuses()) == {"REPLAYED"}


def test_keys_beyond_limit_are_retried_later(any_shop: Any) -> None:
    shop = any_shop
    pad_events(shop, 1_000)
    shop.send(*(order(number, customer=f"c{number}") for number in range(12)))
    shop.customer("c11")
    RetrySizes(shop)
    for _ in range(6):
        shop.retry()
    assert shop.notes() == {11: "a"}


def test_event_larger_than_limit_is_retried_alone(any_shop: Any) -> None:
    shop = any_shop
    pad_events(shop, 3 * MAX_BYTES)
    shop.send(order(1), order(2))
    shop.customer("Anna")
    retries = RetrySizes(shop)
    for _ in range(4):
        shop.retry()
    assert shop.notes() == {1: "a", 2: "a"}
    assert max(retries.sizes) < 4 * MAX_BYTES


def test_many_events_of_row_keep_order(shop: Any) -> None:
    pad_events(shop, 1_000)
    shop.send(*(order(1, f"{number:02}") for number in range(25)))
    shop.customer("Anna")
    RetrySizes(shop)
    seen = []
    for _ in range(25):
        shop.retry()
        seen.append(shop.notes()[1])
    assert seen == sorted(seen)
    assert seen[-1] == "24"


def test_batch_replays_all_rows_in_portions(any_shop: Any) -> None:
    shop = any_shop
    pad_events(shop, 1_000)
    shop.send(*(order(number) for number in range(20)))
    shop.target.admin.execute("UPDATE sink.dead_letter SET partition = NULL")
    encryptor = shop.target.waiting._deferred._encryptor
    for dead_letter in shop.target.dead():
        message = encryptor.decrypt(
            dead_letter["source_data"], dead_letter["topic"], 0, dead_letter["offset"]
        )
        shop.target.admin.execute(
            "UPDATE sink.dead_letter SET source_data = %s WHERE dlq_id = %s",
            (encryptor.encrypt(message._replace(partition=-1)), dead_letter["dlq_id"]),
        )
    shop.customer("Anna")
    RetrySizes(shop)
    counts = replay_rows(shop.target.waiting, shop.target.prepare)
    assert counts["replayed"] == 20
    assert len(shop.notes()) == 20
