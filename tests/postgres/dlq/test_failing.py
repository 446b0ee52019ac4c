"""A dead letter blocks later events of its key until an operator replays or discards it."""

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


def set_status(shop: Any, status: str, nth: int = 1) -> None:
    """Change only the status of the nth dead letter, as `sink-runner dlq` does."""
    shop.target.admin.execute(
        "UPDATE sink.dead_letter SET status = %s WHERE dlq_id = "
        "(SELECT dlq_id FROM sink.dead_letter ORDER BY dlq_id OFFSET %s LIMIT 1)",
        (status, nth - 1),
    )


def drop_note_check(shop: Any) -> None:
    shop.target.admin.execute("ALTER TABLE orders DROP CONSTRAINT orders_note_check")


# The table's constraint rejects "bad", the mapping's rule rejects "z".
@pytest.mark.parametrize("bad", ["bad", "z"])
class TestBlocking:
    def test_later_events_of_key_are_deferred(self, shop: Any, bad: str) -> None:
        shop.send(order(1, "a"), order(1, bad), order(1, "c"), order(2, "d"))
        shop.send(order(1, "e"), order(2, "f"))
        shop.send(delete(id=1, note="e", customer="Anna"))
        assert shop.notes() == {1: "a", 2: "f"}
        assert shop.statuses() == ["OPEN", "PARKED", "PARKED", "PARKED"]

    def test_second_failing_event_is_deferred(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, bad), order(1, "c"))
        assert shop.statuses() == ["OPEN", "PARKED", "PARKED"]

    def test_open_dead_letter_is_not_retried(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"))
        for _ in range(3):
            assert shop.retry() == 0
        assert shop.dead_letters("status", "attempts") == [("OPEN", 0), ("PARKED", 0)]
        assert (shop.target.waiting.held, shop.target.waiting.keys) == (1, 0)

    def test_discarded_dead_letter_unblocks_its_key(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"), order(1, "c"))
        set_status(shop, "DISCARDED")
        assert shop.retry() == 2
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["DISCARDED", "REPLAYED", "REPLAYED"])
        shop.send(order(1, "d"))
        assert shop.notes() == {1: "d"}
        assert shop.target.waiting.held == 0

    def test_failed_replay_is_open_again(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"))
        for attempts in (1, 2):
            set_status(shop, "PARKED")
            assert shop.retry() == 0
            expected = [("OPEN", attempts), ("PARKED", 0)]
            assert shop.dead_letters("status", "attempts") == expected
        assert shop.retry() == 0
        shop.send(order(1, "c"))
        assert (shop.notes(), shop.statuses()) == ({}, ["OPEN", "PARKED", "PARKED"])

    def test_next_failing_event_blocks_its_key_again(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad), order(1, "b"), order(1, bad), order(1, "d"))
        set_status(shop, "DISCARDED")
        assert shop.retry() == 1
        assert shop.notes() == {1: "b"}
        assert shop.statuses() == ["DISCARDED", "REPLAYED", "OPEN", "PARKED"]

    def test_other_runner_defers_events_of_blocked_key(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad))
        other = shop.another()
        other.send(order(1, "b"), order(2, "c"))
        assert (other.notes(), other.statuses()) == ({2: "c"}, ["OPEN", "PARKED"])

    def test_overlapping_batch_defers_events_of_blocked_key(self, shop: Any, bad: str) -> None:
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
        drop_note_check(shop)
        set_status(shop, "PARKED")
        assert shop.retry() == 4
        written = shop.target.admin.execute("SELECT note FROM written ORDER BY n").fetchall()
        assert [row["note"] for row in written] == ["a", "bad", "c", "bad", "e"]
        assert shop.dead_letters("status", "attempts") == [("REPLAYED", 1)] * 4

    def test_deferred_event_precedes_open_dead_letter(self, shop: Any) -> None:
        shop.send(order(1, "a", "Maya"), order(1, "bad"), order(1, "c"))
        set_status(shop, "OPEN", nth=2)
        assert shop.retry() == 0
        shop.customer("Maya")
        assert shop.retry() == 1
        shop.send(order(1, "d"))
        assert shop.notes() == {1: "a"}
        assert shop.statuses() == ["REPLAYED", "OPEN", "PARKED", "PARKED"]

    def test_many_keys_keep_their_turns_after_reload(self, shop: Any) -> None:
        """A retry that always began with the first key would never reach the last."""
        prepare, tried = shop.target.prepare, set[int]()

        def record_and_prepare(messages: Any) -> Any:
            tried.update(message.offset for message in messages)
            return prepare(messages)

        shop.send(*(order(number, "a", f"c{number}") for number in range(1_200)))
        shop.target.prepare = record_and_prepare
        for _ in range(3):
            shop.retry()  # each retry first reloads the keys
        assert len(tried) == 1_200

    def test_many_events_are_applied_over_several_retries(self, shop: Any) -> None:
        shop.send(order(1, "bad"), *(order(1, f"{number:02}") for number in range(35)))
        set_status(shop, "DISCARDED")
        while shop.retry():
            pass
        assert shop.notes() == {1: "34"}
        assert shop.statuses() == ["DISCARDED"] + ["REPLAYED"] * 35

    def test_replay_does_not_restore_deleted_row(self, shop: Any) -> None:
        shop.send(order(1, "bad").at(NOW, position=1))
        shop.send(delete(id=1, note="bad", customer="Anna").at(NOW, position=2))
        drop_note_check(shop)
        set_status(shop, "PARKED")
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({}, ["REPLAYED", "REPLAYED"])


@pytest.mark.parametrize(
    "query",
    [_KEYS, _KEYS_ANY, _OLDEST, _NEWEST, _COUNTS],
    ids=["keys", "keys of any status", "oldest", "newest", "counts"],
)
def test_blocking_dead_letters_are_found_by_index(shop: Any, query: str) -> None:
    """The table contains 20,000 dead letters, most of them replayed."""
    shop.target.admin.execute(
        'INSERT INTO sink.dead_letter (flow, topic, partition, "offset", event_key_hash, '
        "error_class, error_message, stack_trace, source_data, key_id, plugin_version, status) "
        "SELECT 'orders', 't', 0, n, int4send(n), '', '', '', '', '', '', "
        "CASE WHEN n % 100 = 0 THEN 'OPEN' ELSE 'REPLAYED' END FROM generate_series(1, 20000) n"
    )
    shop.target.admin.execute("ANALYZE sink.dead_letter")
    parameters = {
        _KEYS: ("orders", [0]),
        _KEYS_ANY: ("orders", [0]),
        _OLDEST: ([0], [b"\0\0\0\x64"], "orders", 10),
        _NEWEST: ([0], [b"\0\0\0\x64"], "orders", 10),
        _COUNTS: ("orders",),
    }[query]
    plan = shop.target.admin.execute(f"EXPLAIN {query}", parameters).fetchall()
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "dead_letter_held" in text
    assert "Seq Scan" not in text
