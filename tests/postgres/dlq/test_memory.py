"""Deferred events are tried again in portions of bounded size."""

from typing import Any

import pytest

from sink_runner.dlq.retry_queue import replay_rows
from sink_runner.testing import NOW, Sample, create

pytestmark = pytest.mark.postgres

ROOM = 4_000


def order(identity: int, note: str = "a", customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer).at(NOW, 1)


class Portions:
    """Watches how many bytes of payload each retry reads."""

    def __init__(self, shop: Any, room: int = ROOM) -> None:
        self.sizes: list[int] = []
        self._prepare = shop.target.prepare
        shop.target.prepare = self._prepare_and_record
        shop.target.waiting._deferred.most_bytes = room

    def _prepare_and_record(self, messages: Any) -> Any:
        self.sizes.append(sum(len(one.value) for one in messages))
        return self._prepare(messages)


def pad(shop: Any, size: int) -> None:
    """Make each later event this many bytes long."""
    messages = shop.target.messages

    def padded(*samples: Sample) -> Any:
        return [m._replace(value=m.value + bytes(size)) for m in messages(*samples)]

    shop.target.messages = padded


@pytest.fixture(params=["shop", "replacing"])
def any_shop(request: Any) -> Any:
    return request.getfixturevalue(request.param)


def test_retry_reads_no_more_than_its_room(any_shop: Any) -> None:
    shop = any_shop
    pad(shop, 1_000)
    shop.send(*(order(number) for number in range(40)))
    shop.customer("Anna")
    portions = Portions(shop)
    for _ in range(40):
        shop.retry()
    assert len(shop.notes()) == 40
    assert max(portions.sizes) <= ROOM
    assert set(shop.statuses()) == {"REPLAYED"}


def test_keys_beyond_the_room_have_their_turn(any_shop: Any) -> None:
    shop = any_shop
    pad(shop, 1_000)
    shop.send(*(order(number, customer=f"c{number}") for number in range(12)))
    shop.customer("c11")
    Portions(shop)
    for _ in range(6):
        shop.retry()
    assert shop.notes() == {11: "a"}


def test_one_event_larger_than_room_is_tried_alone(any_shop: Any) -> None:
    shop = any_shop
    pad(shop, 3 * ROOM)
    shop.send(order(1), order(2))
    shop.customer("Anna")
    portions = Portions(shop)
    for _ in range(4):
        shop.retry()
    assert shop.notes() == {1: "a", 2: "a"}
    assert max(portions.sizes) < 4 * ROOM


def test_long_line_of_one_row_ends_in_order(shop: Any) -> None:
    pad(shop, 1_000)
    shop.send(*(order(1, f"{number:02}") for number in range(25)))
    shop.customer("Anna")
    Portions(shop)
    seen = []
    for _ in range(25):
        shop.retry()
        seen.append(shop.notes()[1])
    assert seen == sorted(seen)
    assert seen[-1] == "24"


def test_batch_replays_all_rows_in_portions(any_shop: Any) -> None:
    shop = any_shop
    pad(shop, 1_000)
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
    Portions(shop)
    counts = replay_rows(shop.target.waiting, shop.target.prepare)
    assert counts["replayed"] == 20
    assert len(shop.notes()) == 20
