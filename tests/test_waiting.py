"""Events that wait for a row they need: parked in order, tried again, never lost or doubled."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from sink_runner.testing import NOW, Sample, TargetHarness, create, delete

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"
MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.orders", target="{database}.public.orders", key=("id",),
        conflict=source_wins(),
        columns=(
            Column("id"),
            Column("note", maximum="y"),
            Column("customer", required=True, lookup=Lookup(
                "SELECT name, number FROM customers WHERE name = ANY (%s)", "{database}")),
        ),
    )
"""
TABLES = """
CREATE TABLE customers (name text PRIMARY KEY, number int);
CREATE TABLE orders (id int PRIMARY KEY, note varchar(30) CHECK (note <> 'bad'), customer int);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO sink_writer;
GRANT SELECT ON customers TO sink_reader;
"""


class Shop:
    """Orders on their way to a database that knows some of the customers."""

    def __init__(self, postgres: Any, name: str) -> None:
        self.target = TargetHarness(
            "orders",
            dsn=postgres.dsn(name, role="sink_writer"),
            admin_dsn=postgres.dsn(name),
            reader_dsns={name: postgres.dsn(name, role="sink_reader")},
        )
        self.target.now = datetime.now(UTC).replace(tzinfo=None)
        self.send, self.retry = self.target.send, self.target.retry

    def customer(self, name: str, number: int = 1) -> None:
        self.target.admin.execute("INSERT INTO customers VALUES (%s, %s)", (name, number))

    def notes(self) -> dict[int, str]:
        return {row["id"]: row["note"] for row in self.target.rows()}

    def letters(self, *columns: str) -> list[Any]:
        found = [[row[column] for column in columns] for row in self.target.dead()]
        return [row[0] if len(columns) == 1 else tuple(row) for row in found]

    def statuses(self) -> list[str]:
        return self.letters("status")


@pytest.fixture
def shop(postgres, site) -> Iterator[Shop]:
    name = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute(TABLES)
    site.plugin("orders", MAPPING.format(database=name))
    made = Shop(postgres, name)
    made.another = lambda: Shop(postgres, name)
    yield made
    made.target.close()


def order(identity: int, note: str, customer: str = "Anna") -> Sample:
    return create(id=identity, note=note, customer=customer)


class TestOrder:
    def test_what_needs_a_row_waits_for_it(self, shop: Shop) -> None:
        assert shop.send(order(1, "a")) == 0
        assert shop.retry() == 0
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"])
        shop.customer("Anna", 7)
        assert shop.retry() == 1
        assert shop.target.rows() == [{"id": 1, "note": "a", "customer": 7}]
        assert shop.letters("status", "attempts") == [("REPLAYED", 1)]
        assert shop.retry() == 0

    def test_later_events_of_the_row_wait_behind_it(self, shop: Shop) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a"), order(1, "b", "Maya"))
        shop.send(order(1, "c", "Maya"))
        gone = delete(id=1, note="c", customer="Maya")
        shop.send(gone, order(1, "d", "Maya").at(NOW, position=2))
        assert (shop.notes(), shop.statuses()) == ({}, ["PARKED"] * 5)
        shop.customer("Anna")
        assert shop.retry() == 1
        assert (shop.notes(), shop.statuses()) == ({1: "d"}, ["REPLAYED"] * 5)

    def test_and_are_written_at_once_when_nothing_waits_any_more(self, shop: Shop) -> None:
        shop.send(order(1, "a"))
        shop.customer("Anna")
        shop.retry()
        shop.send(order(1, "b"))
        assert (shop.notes(), shop.statuses()) == ({1: "b"}, ["REPLAYED"])

    def test_earlier_events_and_other_rows_go_on(self, shop: Shop) -> None:
        shop.customer("Maya")
        shop.send(order(1, "a", "Maya"), order(1, "b"), order(2, "c", "Maya"))
        shop.send(order(3, "d", "Maya"))
        assert shop.notes() == {1: "a", 2: "c", 3: "d"}

    def test_the_first_that_still_waits_stops_its_own_row_only(self, shop: Shop) -> None:
        shop.send(order(1, "a"), order(2, "b", "Maya"), order(1, "c", "Maya"), order(1, "d"))
        shop.customer("Maya")
        assert shop.retry() == 1
        assert shop.notes() == {2: "b"}
        assert shop.statuses() == ["PARKED", "REPLAYED", "PARKED", "PARKED"]

    def test_a_row_is_stopped_again_by_the_next_that_waits(self, shop: Shop) -> None:
        shop.send(order(1, "a"), order(1, "b", "Maya"), order(1, "c"))
        shop.customer("Anna")
        shop.retry()
        assert (shop.notes(), shop.statuses()) == ({1: "a"}, ["REPLAYED", "PARKED", "PARKED"])
        shop.customer("Maya")
        shop.retry()
        assert shop.notes() == {1: "c"}
