"""A Kafka that every mapping needs is away: the runner says so, waits, and loses nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from sink_stack import ports
from sink_stack.testing_stack import StackUnderTest

from .running import eventually, row, running

pytestmark = pytest.mark.stack

_LETTERS = "SELECT count(*) FROM sink.dead_letter"
_CHANGES = {
    "golden-records": (
        "UPDATE golden_records SET city_village = %s WHERE gr_id = %s",
        "SELECT city FROM profile_data WHERE record_id = %s",
    ),
    "profiles": (
        "UPDATE profile_360 SET cluster_id = %s, updated_at = now() WHERE gr_id = %s",
        "SELECT region FROM profile_summary WHERE family_id = %s",
    ),
}
"""By mapping: a change of the source, and what comes of it in the target."""


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


@dataclass(frozen=True, slots=True)
class Reading:
    """A runner of one mapping that reads by one of the clients of Kafka."""

    mapping: str
    port: int
    warehouse: psycopg.Connection
    portal: psycopg.Connection
    record: str

    def carries(self, text: str) -> None:
        change, found = _CHANGES[self.mapping]
        self.warehouse.execute(change.encode(), (text, self.record))
        eventually(lambda: row(self.portal, found, self.record) == (text,))

    def becomes(self, status: int) -> str:
        """Wait until /readyz has this status, and return what it says."""
        return eventually(lambda: (found := self._ask()).status_code == status and found.text)

    def _ask(self) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=30)


def test_runner_waits_for_kafka_with_either_client(
    stack: StackUnderTest, databases: tuple[psycopg.Connection, ...], tmp_path: Path
) -> None:
    warehouse, portal = databases
    (record,) = row(
        warehouse,
        "INSERT INTO golden_records (jan_aadhaar) VALUES ('040450000000') RETURNING gr_id",
    )
    warehouse.execute(
        "INSERT INTO profile_360 (gr_id, profile_data, created_at) VALUES (%s, '{}', '2020-01-01')",
        (record,),
    )
    with ExitStack() as runners:
        readings = []
        for client, mapping in (("librdkafka", "golden-records"), ("kafka-python", "profiles")):
            port = ports.any_free(frozenset())
            environ = {**stack.env, "SINK_KAFKA_CLIENT": client, "SINK_HEALTH_PORT": str(port)}
            only = ("--only", mapping)
            runners.enter_context(running(environ, tmp_path / client, *only, mappings=1))
            readings.append(Reading(mapping, port, warehouse, portal, record))
        for one in readings:
            one.carries("A")
            one.becomes(200)
        letters = row(portal, _LETTERS)
        for part in ("warehouse", "citizen"):
            stack.stop(part)  # Debezium ends where Kafka is away for long
        stack.kill("kafka")
        for one in readings:
            assert "Kafka does not answer" in one.becomes(503)
        stack.revive()
        for one in readings:
            one.carries("B")
            one.becomes(200)
        assert row(portal, _LETTERS) == letters
