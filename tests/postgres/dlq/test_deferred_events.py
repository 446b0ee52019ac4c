"""Events that wait for a row they need: deferred in order and tried again in order."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.dlq import retry_queue as waiting_module
from sink_runner.dlq.deferred_events import DeferredEvents
from sink_runner.errors import RetriableError
from sink_runner.testing import NOW, Sample, create, delete
from sink_runner.writer.encryption import Encryptor

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


class TestOrder:
    def test_what_needs_a_row_waits_for_it(self, shop: Any) -> None:
        assert shop.send(order(1, "a")) == 0
        assert shop.retry() == 0
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"])
        shop.customer("Anna", 7)
        assert shop.retry() == 1
        assert shop.target.rows() == [{"id": 1, "note": "a", "first": "a", "customer": 7}]
        assert shop.dead_letters("status", "attempts") == [("REPLAYED", 1)]
        assert shop.retry() == 0

    def test_later_events_of_the_row_wait_behind_it(self, shop: Any) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a"), order(1, "b", "Maya"))
        shop.send(order(1, "c", "Maya"))
        gone = delete(id=1, note="c", customer="Maya")
        shop.send(gone, order(1, "d", "Maya").at(NOW, position=2))
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"] * 5)
        shop.customer("Anna")
        assert shop.retry() == 4
        assert (shop.notes(), shop.statuses()) == ({1: "d"}, ["REPLAYED"] * 5)

    def test_rows_are_written_once_nothing_waits(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")
        shop.retry()
        shop.send(order(1, "b"))
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["REPLAYED"])

    def test_earlier_events_and_other_rows_go_on(self, shop: Any) -> None:
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

    def test_row_is_stopped_again_by_next_that_waits(self, shop: Any) -> None:
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

    def test_event_that_waits_too_long_is_dead(self, shop: Any) -> None:
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

    def test_event_expires_only_after_tries_of_process(self, shop: Any) -> None:
        """No runner ran for two days; the row that it needs is in the backlog."""
        shop.send(order(1, "a"), order(2, "b", "Maya"))
        shop.target.now += timedelta(days=2)
        shop.retry()
        assert shop.statuses() == ["PARKED", "PARKED"]
        shop.customer("Anna")
        shop.retry()
        shop.target.now += timedelta(minutes=11)
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({1: "a"}, ["REPLAYED", "OPEN"])

    def test_event_behind_late_decision_does_not_expire(self, shop: Any) -> None:
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
        dump = shop.target.admin.execute("SELECT dead_letter::text AS line FROM sink.dead_letter")
        lines = [row["line"] for row in dump]
        hidden = SECRET, SECRET.encode().hex()
        assert not [line for line in lines if any(text in line for text in hidden)]

    def test_event_of_another_encryption_key_waits(self, shop: Any) -> None:
        shop.send(order(1, "a"), order(1, "b"))
        shop.customer("Anna")
        encryptor = shop.target.waiting._deferred._encryptor
        shop.target.waiting._deferred._encryptor = Encryptor(b"x" * 32, "test")
        assert shop.retry() == 0
        assert shop.statuses() == ["PARKED", "PARKED"]
        shop.target.waiting._deferred._encryptor = encryptor
        assert shop.retry() == 2

    def test_a_database_that_does_not_answer_changes_nothing(self, shop: Any) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")

        def refuse(_: Any) -> Any:
            raise RetriableError("not now")

        prepare, shop.target.prepare = shop.target.prepare, refuse
        with pytest.raises(RetriableError):
            shop.retry()
        shop.target.prepare = prepare
        assert shop.statuses() == ["PARKED"]
        assert shop.retry() == 1


class TestTwoBatchesAtOnce:
    """The next batch is decoded and routed while the one before it is being written."""

    def test_what_first_defers_second_does_not_overtake(self, shop: Any) -> None:
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

    def test_and_second_own_keep_their_places_among_themselves(self, shop: Any) -> None:
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


class TestMany:
    def test_a_long_line_keeps_its_order(self, shop: Any) -> None:
        count = 3 * DeferredEvents.at_once + 1
        shop.send(*(order(1, f"{number:02}") for number in range(count)))
        shop.customer("Anna")
        seen = []
        while shop.target.waiting.due():
            shop.retry()
            seen.append(shop.notes()[1])
        assert seen == ["09", "19", "29", "30", "30"][: len(seen)]
        assert shop.statuses() == ["REPLAYED"] * count

    def test_all_rows_have_their_turn(self, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting_module, "_KEYS_AT_ONCE", 2)
        shop.send(*(order(number, "a", f"c{number}") for number in range(5)))
        shop.customer("c4")
        assert [shop.retry() for _ in range(3)] == [0, 0, 1]
        assert shop.notes() == {4: "a"}
