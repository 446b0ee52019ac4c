"""A shop whose orders may arrive before the customers that they refer to."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from sink_runner.errors import RetriableError
from sink_runner.testing import TargetHarness

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
            Column("first", "note", insert_only=True, default="-"),
            Column("customer", required=True, lookup=Lookup(
                "SELECT name, number FROM customers WHERE name = ANY (%s)", "{database}")),
        ),
    )
"""
ON_INSERT = 'Column("first", "note", insert_only=True, default="-"),'
TABLES = """
CREATE TABLE customers (name text PRIMARY KEY, number int);
CREATE TABLE orders (
  id int PRIMARY KEY, note varchar(30) CHECK (note <> 'bad'), first text, customer int);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO sink_writer;
GRANT SELECT ON customers TO sink_reader;
CREATE TABLE written (n serial, id int, note text);
CREATE FUNCTION written() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.written (id, note) VALUES (new.id, new.note); RETURN new; END $$;
CREATE TRIGGER written AFTER INSERT OR UPDATE ON orders
FOR EACH ROW EXECUTE FUNCTION written();
"""


class Shop:
    """A runner that writes orders; an order is deferred until the target has its customer."""

    another: Callable[[], "Shop"]
    """Starts one more runner, which takes over the partition."""

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

    def dead_letters(self, *columns: str) -> list[Any]:
        rows = [[row[column] for column in columns] for row in self.target.dead()]
        return [row[0] if len(columns) == 1 else tuple(row) for row in rows]

    def statuses(self) -> list[str]:
        return self.dead_letters("status")

    def crash_after(self, point: str) -> None:
        """Terminate the writing session after this step of the next batch or retry."""
        committer, deferred = self.target.committer, self.target.waiting._deferred
        owner, name = {
            "taken": (deferred, "take"),
            "written": (committer._writer, "write"),
            "recorded": (committer._dead_letters, "write"),
            "settled": (deferred, "settle"),
            "committed": (committer, "apply"),
        }[point]
        original = getattr(owner, name)

        def call_and_crash(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            setattr(owner, name, original)
            self._terminate_session()
            if point == "committed":
                raise RetriableError("the answer to the commit was lost")
            return result

        setattr(owner, name, call_and_crash)

    def _terminate_session(self) -> None:
        pid = self.target.committer.session.open().info.backend_pid
        self.target.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


@pytest.fixture
def shop(postgres, site) -> Iterator[Shop]:
    """Events are deferred behind older ones of their row: a column is written on insert only."""
    yield from open_shops(postgres, site, MAPPING)


@pytest.fixture
def superseding_shop(postgres, site) -> Iterator[Shop]:
    """Events have the whole row, so they supersede older dead letters of their row."""
    yield from open_shops(postgres, site, MAPPING.replace(ON_INSERT, ""))


def open_shops(postgres, site, mapping: str) -> Iterator[Shop]:
    name = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute(TABLES)
    site.plugin("orders", mapping.format(database=name))
    opened: list[Shop] = []

    def another() -> Shop:
        opened.append(Shop(postgres, name))
        # The runners share the schema registry, so each decodes what another has encoded.
        opened[-1].target.samples._shapes = opened[0].target.samples._shapes
        opened[-1].target.samples._decoded = opened[0].target.samples._decoded
        opened[-1].another = another
        return opened[-1]

    yield another()
    for one in opened:
        one.target.close()
