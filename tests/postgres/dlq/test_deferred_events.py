"""Events that need a missing row are deferred, and retried in their order."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.dlq import retry_queue
from sink_runner.dlq.deferred_events import DeferredEvents
from sink_runner.errors import RetriableError
from sink_runner.testing import NOW, Sample, create, delete
from sink_runner.writer.encryption import Encryptor

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


class TestOrder:
    def test_event_is_deferred_until_its_row_exists(self, shop: Any) -> None:
        assert shop.send(order(1, "a")) == 0
        assert shop.retry() == 0
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"])
        shop.customer("Anna", 7)
        assert shop.retry() == 1
        assert shop.target.rows() == [{"id": 1, "note": "a", "first": "a", "customer": 7}]
        assert shop.dead_letters("status", "attempts") == [("REPLAYED", 1)]
        assert shop.retry() == 0

    def test_later_events_of_row_are_deferred_too(self, shop: Any) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a"), order(1, "b", "Maya"))
        shop.send(order(1, "c", "Maya"))
        deletion = delete(id=1, note="c", customer="Maya")
        shop.send(deletion, order(1, "d", "Maya").at(NOW, position=2))
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"] * 5)
        shop.customer("Anna")
        assert shop.retry() == 4
        assert (shop.notes(), shop.statuses()) == ({1: "d"}, ["REPLAYED"] * 5)

    def test_row_without_deferred_events_is_written_directly(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")
        shop.retry()
        shop.send(order(1, "b"))
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["REPLAYED"])

    def test_earlier_events_and_other_rows_are_written(self, shop: Any) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a", "Maya"), order(1, "b"), order(2, "c", "Maya"))
        shop.send(order(3, "d", "Maya"))
        assert shop.notes() == {1: "a", 2: "c", 3: "d"}

    def test_deferred_event_stops_only_its_row(self, shop: Any) -> None:
        shop.send(order(1, "a"), order(2, "b", "Maya"), order(1, "c", "Maya"), order(1, "d"))
        shop.customer("Maya")
        assert shop.retry() == 1
        assert shop.notes() == {2: "b"}
        assert shop.statuses() == ["PARKED", "REPLAYED", "PARKED", "PARKED"]

    def test_retry_stops_at_next_event_without_row(self, shop: Any) -> None:
        shop.send(order(1, "a"), order(1, "b", "Maya"), order(1, "c"))
        shop.customer("Anna")
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({1: "a"}, ["REPLAYED", "PARKED", "PARKED"])
        shop.customer("Maya")
        shop.retry()
        assert shop.notes() == {1: "c"}


class TestFailures:
    @pytest.mark.parametrize(
        ("note", "kind", "state"),
        [("bad", "WriteError", "23514"), ("z" + SECRET, "QualityError", None)],
    )
    def test_other_failure_is_dead_letter_and_blocks_row(
        self, shop: Any, note: str, kind: str, state: str | None
    ) -> None:
        shop.send(order(1, "a"))
        shop.send(order(1, note), order(1, "c"))
        shop.customer("Anna")
        assert shop.retry() == 1
        assert shop.notes() == {1: "a"}
        assert shop.dead_letters("status", "attempts", "error_class", "sqlstate") == [
            ("REPLAYED", 1, "WaitingError", None),
            ("OPEN", 1, kind, state),
            ("PARKED", 0, "WaitingError", None),
        ]

    def test_expired_event_becomes_dead_letter(self, shop: Any) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a"), order(1, "b", "Maya"))
        shop.target.now += timedelta(hours=23)
        assert shop.retry() == 0
        shop.target.now += timedelta(hours=2)
        assert shop.retry() == 0
        assert (shop.notes(), shop.statuses()) == ({}, ["OPEN", "PARKED"])
        ((status, kind, text), _) = shop.dead_letters("status", "error_class", "error_message")
        assert (status, kind) == ("OPEN", "ExpiredError")
        assert text == "gave up: lookup of column 'customer' found nothing"

    def test_event_expires_only_after_own_retries(self, shop: Any) -> None:
        """After an outage of two days, the row that an event needs may still be in the backlog."""
        shop.send(order(1, "a"), order(2, "b", "Maya"))
        shop.target.now += timedelta(days=2)
        shop.retry()
        assert shop.statuses() == ["PARKED", "PARKED"]
        shop.customer("Anna")
        shop.retry()
        shop.target.now += timedelta(minutes=11)
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({1: "a"}, ["REPLAYED", "OPEN"])

    def test_event_blocked_by_dead_letter_keeps_time(self, shop: Any) -> None:
        shop.customer("Anna")
        shop.send(order(1, "bad"), order(1, "b", "Maya"))
        shop.target.now += timedelta(days=2)
        shop.target.admin.execute(
            "UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE status = 'OPEN'"
        )
        shop.target.waiting.load({0})
        shop.retry()
        assert shop.statuses() == ["DISCARDED", "PARKED"]

    def test_deferred_event_holds_no_unmasked_value(self, shop: Any) -> None:
        shop.send(order(1, "a", SECRET), order(1, SECRET), order(2, "bad" + SECRET, SECRET))
        shop.customer(SECRET)
        shop.retry()
        assert {"PARKED", "REPLAYED"} == set(shop.statuses())
        dead_letters = shop.target.admin.execute(
            "SELECT dead_letter::text AS line FROM sink.dead_letter"
        )
        lines = [row["line"] for row in dead_letters]
        secrets = SECRET, SECRET.encode().hex()
        assert not [line for line in lines if any(text in line for text in secrets)]

    def test_event_of_another_encryption_key_stays_deferred(self, shop: Any) -> None:
        shop.send(order(1, "a"), order(1, "b"))
        shop.customer("Anna")
        encryptor = shop.target.waiting._deferred._encryptor
        shop.target.waiting._deferred._encryptor = Encryptor(b"x" * 32, "test")
        assert shop.retry() == 0
        assert shop.statuses() == ["PARKED", "PARKED"]
        shop.target.waiting._deferred._encryptor = encryptor
        assert shop.retry() == 2

    def test_outage_during_retry_changes_nothing(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")

        def fail(_: Any) -> Any:
            raise RetriableError("not now")

        prepare, shop.target.prepare = shop.target.prepare, fail
        with pytest.raises(RetriableError):
            shop.retry()
        shop.target.prepare = prepare
        assert shop.statuses() == ["PARKED"]
        assert shop.retry() == 1


class TestOverlappingBatches:
    """The worker decodes a batch while the previous one is written."""

    def test_second_batch_follows_events_deferred_by_first(self, shop: Any) -> None:
        shop.customer("Maya")
        target = shop.target
        first = target.prepare(target.waiting.split(target.messages(order(1, "a")))[0])
        target.waiting.hold(first)
        messages = target.messages(order(1, "b", "Maya"), order(2, "c", "Maya"))
        free, held = target.waiting.split(messages)
        assert (len(free), held) == (2, [])
        second = target.prepare(free)
        target.apply(first)
        target.waiting.hold(second, held)
        target.apply(second)
        assert (shop.notes(), shop.statuses()) == ({2: "c"}, ["PARKED", "PARKED"])

    def test_events_of_second_batch_keep_their_order(self, shop: Any) -> None:
        shop.customer("Maya")
        target = shop.target
        target.waiting.split([])
        first = target.batch(order(1, "a"))
        second = target.batch(order(1, "b", "Maya"), order(1, "c", "Nina"))
        target.apply(first)
        target.waiting.hold(second)
        target.apply(second)
        shop.customer("Anna")
        shop.customer("Nina")
        shop.retry()
        assert shop.notes() == {1: "c"}


class TestManyEvents:
    def test_many_events_of_row_keep_order(self, shop: Any) -> None:
        count = 3 * DeferredEvents.at_once + 1
        shop.send(*(order(1, f"{number:02}") for number in range(count)))
        shop.customer("Anna")
        seen = []
        while shop.target.waiting.due():
            shop.retry()
            seen.append(shop.notes()[1])
        assert seen == ["09", "19", "29", "30", "30"][: len(seen)]
        assert shop.statuses() == ["REPLAYED"] * count

    def test_every_key_is_retried_in_turn(self, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_queue, "_KEYS_AT_ONCE", 2)
        shop.send(*(order(number, "a", f"c{number}") for number in range(5)))
        shop.customer("c4")
        assert [shop.retry() for _ in range(3)] == [0, 0, 1]
        assert shop.notes() == {4: "a"}
