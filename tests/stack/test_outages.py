"""An outage of Kafka: the runner reports it, waits, and loses no event."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from sink_stack import ports
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import fetch_row, run_runner

pytestmark = pytest.mark.stack

_DEAD_LETTERS = "SELECT count(*) FROM sink.dead_letter"
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
"""By mapping: an update of the source, and a query for its effect in the target."""


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


@dataclass(frozen=True, slots=True)
class RunningMapping:
    """A runner of one mapping, with one of the Kafka clients."""

    mapping: str
    port: int
    warehouse: psycopg.Connection
    portal: psycopg.Connection
    record: str

    def assert_copies(self, text: str) -> None:
        change, found = _CHANGES[self.mapping]
        self.warehouse.execute(change.encode(), (text, self.record))
        eventually(lambda: fetch_row(self.portal, found, self.record) == (text,))

    def wait_for_status(self, status: int) -> str:
        """Wait until /readyz returns this status, and return its body."""
        return eventually(lambda: (found := self._ask()).status_code == status and found.text)

    def _ask(self) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=30)


def test_runner_waits_for_kafka_with_either_client(
    stack: StackUnderTest, databases: tuple[psycopg.Connection, ...], tmp_path: Path
) -> None:
    warehouse, portal = databases
    (record,) = fetch_row(
        warehouse,
        "INSERT INTO golden_records (jan_aadhaar) VALUES ('040450000000') RETURNING gr_id",
    )
    warehouse.execute(
        "INSERT INTO profile_360 (gr_id, profile_data, created_at) VALUES (%s, '{}', '2020-01-01')",
        (record,),
    )
    with ExitStack() as runners:
        running_mappings = []
        for client, mapping in (("librdkafka", "golden-records"), ("kafka-python", "profiles")):
            port = ports.any_free(frozenset())
            environ = {**stack.env, "SINK_KAFKA_CLIENT": client, "SINK_HEALTH_PORT": str(port)}
            only = ("--only", mapping)
            runners.enter_context(run_runner(environ, tmp_path / client, *only, mappings=1))
            running_mappings.append(RunningMapping(mapping, port, warehouse, portal, record))
        for one in running_mappings:
            one.assert_copies("A")
            one.wait_for_status(200)
        dead_letters = fetch_row(portal, _DEAD_LETTERS)
        for part in ("warehouse", "citizen"):
            stack.stop(part)  # Debezium exits during a long outage of Kafka
        stack.kill("kafka")
        for one in running_mappings:
            assert "Kafka does not answer" in one.wait_for_status(503)
        stack.revive()
        for one in running_mappings:
            one.assert_copies("B")
            one.wait_for_status(200)
        assert fetch_row(portal, _DEAD_LETTERS) == dead_letters
