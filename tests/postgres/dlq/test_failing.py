"""An event that fails holds up its key, until a person has decided; what comes later waits."""

from typing import Any

import pytest

from sink_runner.dlq.deferred_events import _COUNTS, _KEYS, _KEYS_ANY, _NEWEST, _OLDEST
from sink_runner.testing import NOW, Sample, create, delete

pytestmark = pytest.mark.postgres


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


@pytest.fixture
def shop(shop: Any) -> Any:
    shop.customer("Anna")
    return shop


def decide(shop: Any, status: str, nth: int = 1) -> None:
    """As `sink-runner dlq` does: it changes a status and nothing else."""
    shop.target.admin.execute(
        "UPDATE sink.dead_letter SET status = %s WHERE dlq_id = "
        "(SELECT dlq_id FROM sink.dead_letter ORDER BY dlq_id OFFSET %s LIMIT 1)",
        (status, nth - 1),
    )


def drop_check(shop: Any) -> None:
    shop.target.admin.execute("ALTER TABLE orders DROP CONSTRAINT orders_note_check")


# "bad" is refused by the table, "z" by the mapping's own rule.
@pytest.mark.parametrize("bad", ["bad", "z"])
class TestHolding:
    def test_later_events_of_batch_and_of_others_wait(self, shop: Any, bad: str) -> None:
        shop.send(order(1, "a"), order(1, bad), order(1, "c"), order(2, "d"))
        shop.send(order(1, "e"), order(2, "f"))
        shop.send(delete(id=1, note="e", customer="Anna"))
        assert shop.notes() == {1: "a", 2: "f"}
        assert shop.statuses() == ["OPEN", "PARKED", "PARKED", "PARKED"]

    def test_one_that_fails_as_well_only_waits(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, bad), order(1, "c"))
        assert shop.statuses() == ["OPEN", "PARKED", "PARKED"]

    def test_nothing_is_tried_again_before_a_decision(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"))
        for _ in range(3):
            assert shop.retry() == 0
        assert shop.dead_letters("status", "attempts") == [("OPEN", 0), ("PARKED", 0)]
        assert (shop.target.waiting.held, shop.target.waiting.keys) == (1, 0)

    def test_discarded_event_lets_others_go_on(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"), order(1, "c"))
        decide(shop, "DISCARDED")
        assert shop.retry() == 2
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["DISCARDED", "REPLAYED", "REPLAYED"])
        shop.send(order(1, "d"))
        assert shop.notes() == {1: "d"}
        assert shop.target.waiting.held == 0

    def test_replayed_event_that_fails_is_open(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"))
        for attempts in (1, 2):
            decide(shop, "PARKED")
            assert shop.retry() == 0
            expected = [("OPEN", attempts), ("PARKED", 0)]
            assert shop.dead_letters("status", "attempts") == expected
        assert shop.retry() == 0
        shop.send(order(1, "c"))
        assert (shop.notes(), shop.statuses()) == ({}, ["OPEN", "PARKED", "PARKED"])

    def test_next_that_fails_holds_up_those_behind_it(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"), order(1, bad), order(1, "d"))
        decide(shop, "DISCARDED")
        assert shop.retry() == 1
        assert shop.notes() == {1: "b"}
        assert shop.statuses() == ["DISCARDED", "REPLAYED", "OPEN", "PARKED"]

    def test_another_runner_knows_of_it(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad))
        other = shop.another()
        other.send(order(1, "b"), order(2, "c"))
        assert (other.notes(), other.statuses()) == ({2: "c"}, ["OPEN", "PARKED"])

    def test_so_does_the_batch_that_was_decoded_meanwhile(self, shop: Any, bad: str) -> None:
        target, batches = shop.target, []
        for samples in ([order(1, bad)], [order(1, "b"), order(1, bad), order(2, "c")]):
            free, held = target.waiting.split(target.messages(*samples))
            batches.append((target.prepare(free), held))
        for batch, held in batches:
            target.waiting.hold(batch, held)
            target.apply(batch)
        assert (shop.notes(), shop.statuses()) == ({2: "c"}, ["OPEN", "PARKED", "PARKED"])


class TestReplaying:
    def test_events_are_applied_in_order_after_fix(self, shop: Any) -> None:
        shop.send(order(1, "a"), order(1, "bad"), order(1, "c"), order(1, "bad"))
        shop.send(order(1, "e"))
        drop_check(shop)
        decide(shop, "PARKED")
        assert shop.retry() == 4
        written = shop.target.admin.execute("SELECT note FROM written ORDER BY n").fetchall()
        assert [row["note"] for row in written] == ["a", "bad", "c", "bad", "e"]
        assert shop.dead_letters("status", "attempts") == [("REPLAYED", 1)] * 4

    def test_waiting_event_precedes_event_to_decide(self, shop: Any) -> None:
        shop.send(order(1, "a", "Maya"), order(1, "bad"), order(1, "c"))
        decide(shop, "OPEN", nth=2)
        assert shop.retry() == 0
        shop.customer("Maya")
        assert shop.retry() == 1
        shop.send(order(1, "d"))
        assert shop.notes() == {1: "a"}
        assert shop.statuses() == ["REPLAYED", "OPEN", "PARKED", "PARKED"]

    def test_many_keys_keep_their_turns_after_reload(self, shop: Any) -> None:
        """A retry that always began with the first key would never reach the last."""
        prepare, tried = shop.target.prepare, set[int]()

        def seen(messages: Any) -> Any:
            tried.update(message.offset for message in messages)
            return prepare(messages)

        shop.send(*(order(number, "a", f"c{number}") for number in range(1_200)))
        shop.target.prepare = seen
        for _ in range(3):
            shop.retry()  # reads the keys first
        assert len(tried) == 1_200

    def test_a_long_line_is_applied_by_and_by(self, shop: Any) -> None:
        shop.send(order(1, "bad"), *(order(1, f"{number:02}") for number in range(35)))
        decide(shop, "DISCARDED")
        while shop.retry():
            pass
        assert shop.notes() == {1: "34"}
        assert shop.statuses() == ["DISCARDED"] + ["REPLAYED"] * 35

    def test_a_deleted_row_does_not_come_back(self, shop: Any) -> None:
        shop.send(order(1, "bad").at(NOW, position=1))
        shop.send(delete(id=1, note="bad", customer="Anna").at(NOW, position=2))
        drop_check(shop)
        decide(shop, "PARKED")
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({}, ["REPLAYED", "REPLAYED"])


@pytest.mark.parametrize(
    "query",
    [_KEYS, _KEYS_ANY, _OLDEST, _NEWEST, _COUNTS],
    ids=["keys", "keys of any status", "oldest", "newest", "counts"],
)
def test_an_index_finds_what_holds_up_others(shop: Any, query: str) -> None:
    """However many dead letters of the past the table has."""
    shop.target.admin.execute(
        'INSERT INTO sink.dead_letter (flow, topic, partition, "offset", event_key_hash, '
        "error_class, error_message, stack_trace, source_data, key_id, plugin_version, status) "
        "SELECT 'orders', 't', 0, n, int4send(n), '', '', '', '', '', '', "
        "CASE WHEN n % 100 = 0 THEN 'OPEN' ELSE 'REPLAYED' END FROM generate_series(1, 20000) n"
    )
    shop.target.admin.execute("ANALYZE sink.dead_letter")
    given = {
        _KEYS: ("orders", [0]),
        _KEYS_ANY: ("orders", [0]),
        _OLDEST: ([0], [b"\0\0\0\x64"], "orders", 10),
        _NEWEST: ([0], [b"\0\0\0\x64"], "orders", 10),
        _COUNTS: ("orders",),
    }[query]
    plan = shop.target.admin.execute(f"EXPLAIN {query}", given).fetchall()
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "dead_letter_held" in text
    assert "Seq Scan" not in text
