"""A newer whole row is applied at once and supersedes the older dead letters of its source row."""

from typing import Any

import pytest

from sink_runner.dlq.deferred_events import DeferredEvents
from sink_runner.dlq.superseding import RowKeys, can_supersede
from sink_runner.errors import DecodeError, RetriableError
from sink_runner.plugin import (
    ABSENT,
    Column,
    ConflictDetection,
    Derived,
    Lookup,
    TableMapping,
    insert_once,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW, Sample, create, delete, update

pytestmark = pytest.mark.postgres


def order(identity: int, note: str, position: int, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer).at(NOW, position)


@pytest.fixture
def shop(superseding_shop: Any) -> Any:
    superseding_shop.customer("Anna")
    return superseding_shop


def set_status(shop: Any, status: str, nth: int = 1) -> None:
    """Change a dead letter's status, as `sink-runner dlq` does."""
    shop.target.admin.execute(
        "UPDATE sink.dead_letter SET status = %s WHERE dlq_id = "
        "(SELECT dlq_id FROM sink.dead_letter ORDER BY dlq_id OFFSET %s LIMIT 1)",
        (status, nth - 1),
    )


def allow_bad_notes(shop: Any) -> None:
    shop.target.admin.execute("ALTER TABLE orders DROP CONSTRAINT orders_note_check")


# The table's constraint rejects "bad", the mapping's rule rejects "z".
@pytest.mark.parametrize("bad", ["bad", "z"])
class TestNewerRow:
    def test_supersedes_dead_letter_of_earlier_batch(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1))
        assert shop.send(order(1, "b", 2)) == 1
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["SUPERSEDED"])
        assert shop.target.waiting.held == 0

    def test_supersedes_dead_letter_of_same_batch(self, shop: Any, bad: str) -> None:
        shop.send(order(1, "a", 1), order(1, bad, 2), order(1, "c", 3), order(2, "d", 4))
        assert shop.notes() == {1: "c", 2: "d"}
        # Within a batch, only the newest row of a key is sent to the table.
        assert shop.statuses() == ([] if bad == "bad" else ["SUPERSEDED"])

    def test_supersedes_dead_letter_of_isolated_row(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1), order(2, bad, 2), order(1, "c", 3))
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["SUPERSEDED", "OPEN"])

    def test_supersedes_all_older_dead_letters(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1))
        shop.send(order(1, bad, 2))
        shop.send(order(1, "c", 3, "Maya"))
        assert shop.statuses() == ["OPEN", "OPEN", "PARKED"]
        shop.send(order(1, "d", 4))
        assert (shop.notes(), shop.statuses()) == ({1: "d"}, ["SUPERSEDED"] * 3)

    def test_leaves_dead_letters_of_other_rows(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1), order(2, bad, 2))
        shop.send(order(1, "b", 3))
        assert shop.statuses() == ["SUPERSEDED", "OPEN"]

    def test_failing_row_supersedes_nothing(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1))
        shop.send(order(1, bad, 2))
        assert shop.statuses() == ["OPEN", "OPEN"]
        allow_bad_notes(shop)
        set_status(shop, "PARKED", nth=1)
        shop.retry()
        expected = ["REPLAYED", "OPEN"] if bad == "bad" else ["OPEN", "OPEN"]
        assert shop.statuses() == expected

    def test_delete_supersedes_dead_letter(self, shop: Any, bad: str) -> None:
        shop.send(order(1, "a", 1))
        shop.send(order(1, bad, 2))
        shop.send(delete(id=1, note="x", customer="Anna").at(NOW, 3))
        assert (shop.notes(), shop.statuses()) == ({}, ["SUPERSEDED"])

    def test_replay_of_older_event_overwrites_nothing(self, shop: Any, bad: str) -> None:
        """The replay is requested while the newer row is in flight."""
        shop.send(order(1, bad, 1))
        allow_bad_notes(shop)
        set_status(shop, "PARKED")
        shop.send(order(1, "b", 2))
        assert shop.retry() == 0
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["SUPERSEDED"])

    def test_row_of_another_runner_supersedes(self, shop: Any, bad: str) -> None:
        shop.send(order(1, bad, 1))
        other = shop.another()
        other.send(order(1, "b", 2))
        assert (other.notes(), other.statuses()) == ({1: "b"}, ["SUPERSEDED"])

    def test_row_of_overlapping_batch_supersedes(self, shop: Any, bad: str) -> None:
        """The worker decodes a batch while the previous one is written."""
        target, batches = shop.target, []
        for samples in ([order(1, bad, 1)], [order(1, "b", 2), order(2, "c", 3)]):
            free, held = target.waiting.split(target.messages(*samples))
            batches.append((target.prepare(free), held))
        for batch, held in batches:
            target.waiting.hold(batch, held)
            target.apply(batch)
        assert (shop.notes(), shop.statuses()) == ({1: "b", 2: "c"}, ["SUPERSEDED"])


class TestPartialRow:
    """An event that lacks a column depends on the event before it."""

    @staticmethod
    def partial(identity: int, position: int, customer: str = "Anna") -> Sample:
        row = {"id": identity, "note": ABSENT, "customer": customer}
        return update(row, customer=customer).at(NOW, position)

    def test_is_deferred_behind_dead_letter(self, shop: Any) -> None:
        shop.send(order(1, "a", 1))
        shop.send(order(1, "bad", 2), self.partial(1, 3))
        shop.send(self.partial(1, 4))
        assert (shop.notes(), shop.statuses()) == ({1: "a"}, ["OPEN", "PARKED", "PARKED"])

    def test_is_superseded_with_its_predecessor(self, shop: Any) -> None:
        shop.send(order(1, "bad", 1), self.partial(1, 2))
        shop.send(order(1, "c", 3), self.partial(1, 4))
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["SUPERSEDED", "SUPERSEDED"])

    def test_follows_predecessor_that_is_replayed(self, shop: Any) -> None:
        shop.customer("Maya", 2)
        shop.send(order(1, "bad", 1), self.partial(1, 2, "Maya"))
        allow_bad_notes(shop)
        set_status(shop, "PARKED")
        while shop.retry():
            pass
        assert shop.target.rows("note", "customer") == [{"note": "bad", "customer": 2}]
        assert shop.statuses() == ["REPLAYED", "REPLAYED"]

    def test_many_partial_rows_do_not_block_replay(self, shop: Any) -> None:
        count = 3 * DeferredEvents.at_once
        shop.send(order(1, "bad", 1), *(self.partial(1, 2 + n) for n in range(count)))
        allow_bad_notes(shop)
        set_status(shop, "PARKED")
        for _ in range(count):
            shop.retry()
        assert shop.notes() == {1: "bad"}
        assert shop.statuses() == ["REPLAYED"] * (count + 1)


class TestRetry:
    def test_newest_applicable_event_wins(self, shop: Any) -> None:
        shop.send(order(1, "a", 1, "Maya"), order(1, "b", 2, "Nina"), order(1, "c", 3, "Olga"))
        shop.customer("Nina")
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["SUPERSEDED", "REPLAYED", "PARKED"])
        shop.customer("Maya")
        assert shop.retry() == 0
        shop.customer("Olga")
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["SUPERSEDED", "REPLAYED", "REPLAYED"])

    def test_open_dead_letter_does_not_block_retry(self, shop: Any) -> None:
        shop.send(order(1, "bad", 1), order(1, "b", 2, "Maya"))
        assert shop.statuses() == ["OPEN", "PARKED"]
        shop.customer("Maya")
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["SUPERSEDED", "REPLAYED"])

    def test_failed_retry_supersedes_nothing(self, shop: Any) -> None:
        shop.send(order(1, "bad", 1), order(1, "bad", 2, "Maya"))
        shop.customer("Maya")
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({}, ["OPEN", "OPEN"])
        shop.send(order(1, "c", 3))
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["SUPERSEDED", "SUPERSEDED"])

    def test_replay_of_older_leaves_newer_open(self, shop: Any) -> None:
        shop.send(order(1, "bad", 1), order(1, "z", 2))
        allow_bad_notes(shop)
        set_status(shop, "PARKED", nth=1)
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({1: "bad"}, ["REPLAYED", "OPEN"])
        shop.send(order(1, "c", 3))
        assert (shop.notes(), shop.statuses()) == ({1: "c"}, ["REPLAYED", "SUPERSEDED"])

    def test_many_versions_of_row_end_with_last(self, shop: Any) -> None:
        count = 5 * DeferredEvents.at_once
        shop.send(*(order(1, f"{n:02}", n + 1, "Maya") for n in range(count)))
        shop.customer("Maya")
        assert shop.retry() == 1
        assert shop.notes() == {1: f"{count - 1:02}"}
        assert shop.statuses() == ["SUPERSEDED"] * (count - 1) + ["REPLAYED"]


class TestCanSupersede:
    @staticmethod
    def mapping(**declared: Any) -> TableMapping:
        defaults: dict[str, Any] = {
            "source": "north.public.t",
            "target": "south.public.t",
            "key": ("id",),
            "conflict": source_wins(),
            "columns": (Column("id"), Column("v"), Column("at")),
        }
        return TableMapping(**defaults | declared)

    @pytest.mark.parametrize(
        ("declared", "expected"),
        [
            ({}, True),
            ({"conflict": newest_wins("at")}, True),
            ({"conflict": insert_once()}, False),
            ({"conflict": merge_changed("at"), "needs_before_image": True}, False),
            (
                {
                    "conflict": newest_wins("at"),
                    "conflict_detection": ConflictDetection(),
                    "needs_before_image": True,
                },
                False,
            ),
            ({"columns": (Column("id"), Column("v", insert_only=True))}, False),
            ({"needs_before_image": True}, True),
            ({"needs_before_image": True, "key": ("v",)}, False),
            (
                {
                    "needs_before_image": True,
                    "columns": (Column("id", lookup=Lookup("SELECT %s", "x")), Column("v")),
                },
                False,
            ),
            ({"derived": Derived(key=("id",), group=("v",), select="")}, True),
        ],
    )
    def test_mapping_that_writes_whole_rows_supersedes(
        self, declared: Any, *, expected: bool
    ) -> None:
        mapping = self.mapping(**declared)
        assert can_supersede(mapping, ("id",), decides_itself=False) is expected
        assert not can_supersede(mapping, ("id",), decides_itself=True)
        assert not can_supersede(mapping, (), decides_itself=False)

    def test_key_of_several_rows_supersedes_nothing(self) -> None:
        columns = {b"\0\0\0\0\1": ("id",), b"\0\0\0\0\2": ("family",)}
        identifies_one_row = RowKeys(lambda key: columns[key[:5]], ("id",))
        assert identifies_one_row(b"\0\0\0\0\1xyz")
        assert not identifies_one_row(b"\0\0\0\0\2xyz")

    def test_key_is_resolved_again_after_registry_fails(self) -> None:
        faults: list[Exception] = [RetriableError("away"), DecodeError("no record")]

        def columns_of(_key: bytes) -> tuple[str, ...]:
            if faults:
                raise faults.pop(0)
            return ("id",)

        identifies_one_row = RowKeys(columns_of, ("id",))
        assert [identifies_one_row(bytes(5)) for _ in range(3)] == [False, False, False]
        assert identifies_one_row(b"\0\0\0\0\1")
