"""Rows that violate a foreign key, because another mapping writes the row they refer to."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.testing import NOW, Sample, create, delete
from sink_runner.writer.committer import Committer
from sink_runner.writer.mapping_lock import MappingLock
from sink_runner.writer.target_session import TargetSession

pytestmark = pytest.mark.postgres

TIMING = ["NOT DEFERRABLE", "DEFERRABLE INITIALLY IMMEDIATE", "DEFERRABLE INITIALLY DEFERRED"]
CONSTRAINT = "orders_customer_fkey"


def order(identity: int, note: str, position: int = 1, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer).at(NOW, position)


@pytest.fixture(params=["shop", "superseding_shop"])
def any_shop(request: Any) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=TIMING)
def shop(request: Any, any_shop: Any) -> Any:
    """Orders refer to accounts, which another mapping writes: 1 of Anna, 2 of Maya."""
    any_shop.customer("Anna", 1)
    any_shop.customer("Maya", 2)
    any_shop.target.admin.execute(
        f"CREATE TABLE accounts (id int PRIMARY KEY); INSERT INTO accounts VALUES (2);"
        f"ALTER TABLE orders ADD CONSTRAINT {CONSTRAINT} "
        f"FOREIGN KEY (customer) REFERENCES accounts {request.param}"
    )
    return any_shop


def send(shop: Any, *samples: Sample) -> None:
    """Apply the events as the worker does: a batch whose commit fails is applied again."""
    batch = shop.target.prepare(shop.target.messages(*samples))
    shop.target.waiting.hold(batch)
    try:
        shop.target.apply(batch)
    except Exception:  # noqa: BLE001 - the second attempt must succeed after any error
        shop.target.apply(batch)


def insert_account(shop: Any, number: int = 1) -> None:
    shop.target.admin.execute("INSERT INTO accounts VALUES (%s)", (number,))


def test_child_is_deferred_until_its_parent_exists(shop: Any) -> None:
    send(shop, order(1, "a"), order(2, "b", 2, "Maya"))
    assert (shop.notes(), shop.statuses()) == ({2: "b"}, ["PARKED"])
    ((kind, state, text),) = shop.dead_letters("error_class", "sqlstate", "error_message")
    assert (kind, state) == ("WaitingError", "23503")
    assert CONSTRAINT in text
    assert "public.orders" in text
    assert shop.retry() == 0
    insert_account(shop)
    assert shop.retry() == 1
    assert (shop.notes(), shop.statuses()) == ({1: "a", 2: "b"}, ["REPLAYED"])


def test_child_without_parent_expires(shop: Any) -> None:
    send(shop, order(1, "a"))
    shop.target.now += timedelta(hours=23)
    shop.retry()
    assert shop.statuses() == ["PARKED"]
    shop.target.now += timedelta(hours=2)
    shop.retry()
    shop.target.now += timedelta(hours=2)
    shop.retry()
    ((status, kind, state, text),) = shop.dead_letters(
        "status", "error_class", "sqlstate", "error_message"
    )
    assert (status, kind, state) == ("OPEN", "ExpiredError", "23503")
    assert text.startswith("gave up: foreign key")
    assert CONSTRAINT in text


def test_delete_is_deferred_while_rows_refer(shop: Any) -> None:
    send(shop, order(2, "b", 1, "Maya"))
    shop.target.admin.execute(
        "CREATE TABLE lines (number int REFERENCES orders); INSERT INTO lines VALUES (2)"
    )
    send(shop, delete(id=2, note="b", customer="Maya").at(NOW, 2), order(3, "c", 3, "Maya"))
    assert (shop.notes(), shop.statuses()) == ({2: "b", 3: "c"}, ["PARKED"])
    assert shop.retry() == 0
    shop.target.admin.execute("DELETE FROM lines")
    assert shop.retry() == 1
    assert (shop.notes(), shop.statuses()) == ({3: "c"}, ["REPLAYED"])


def test_many_children_arrive_before_their_parents(shop: Any) -> None:
    for number in range(10, 40):
        shop.customer(f"c{number}", number)
    send(shop, *(order(number, "a", number, f"c{number}") for number in range(10, 40)))
    assert shop.statuses() == ["PARKED"] * 30
    for number in range(10, 40, 2):
        insert_account(shop, number)
    assert shop.retry() == 15
    assert set(shop.notes()) == set(range(10, 40, 2))


def test_batch_checks_deferred_constraints_at_once(shop: Any) -> None:
    """A chunk of a batch run whose commit fails is written again."""
    target = shop.target
    committer = Committer(
        "orders",
        session=TargetSession("orders", target.committer.session._dsn, target.committer._writer),
        offsets=MappingLock("orders"),
        dead_letters=target.committer._dead_letters,
        clock=lambda: target.now,
    )
    batch = target.prepare(target.messages(order(1, "a"), order(2, "b", 2, "Maya")))
    dead_letters: list[Any] = []

    def write_chunk(connection: Any) -> int:
        dead_letters.clear()
        return committer.write(connection, batch.changes, dead_letters).rows

    try:
        written = committer.transact(write_chunk)
    except Exception:  # noqa: BLE001 - the second attempt must succeed after any error
        written = committer.transact(write_chunk)
    committer.session.close()
    assert (written, [dead_letter.status for dead_letter in dead_letters]) == (1, ["PARKED"])
    assert shop.notes() == {2: "b"}


class TestOrder:
    def test_later_event_is_deferred_behind_child(self, shop: Any, request: Any) -> None:
        send(shop, order(1, "a"))
        send(shop, order(1, "b", 2, "Maya"))
        if "superseding_shop" in request.node.callspec.id:
            assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["SUPERSEDED"])
            return
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED", "PARKED"])
        insert_account(shop)
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["REPLAYED", "REPLAYED"])
