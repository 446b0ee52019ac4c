"""A Kafka that every mapping needs is away: the runner says so, waits, and loses nothing."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from sink_stack.testing_stack import StackUnderTest

from .running import eventually, row, running

pytestmark = pytest.mark.stack

CLIENTS = {"librdkafka": "0450000000", "kafka-python": "0460000000"}
_LETTERS = "SELECT count(*) FROM sink.dead_letter"
_MADE = "INSERT INTO golden_records (jan_aadhaar) VALUES (%s) RETURNING gr_id"
_MOVED = "UPDATE golden_records SET city_village = %s WHERE gr_id = %s"
_THERE = "SELECT city FROM profile_data WHERE record_id = %s"


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


@pytest.mark.parametrize("client", CLIENTS)
def test_while_kafka_is_away_the_runner_is_not_ready_and_then_goes_on(
    stack: StackUnderTest, databases: tuple[psycopg.Connection, ...], tmp_path: Path, client: str
) -> None:
    if client == "librdkafka":
        pytest.importorskip("confluent_kafka", reason="librdkafka is an extra")
    (warehouse, portal), log = databases, tmp_path / "runner.log"
    (record,) = row(warehouse, _MADE, f"04{CLIENTS[client]}")

    url = f"http://127.0.0.1:{stack.env['SINK_HEALTH_PORT']}/readyz"

    def asked() -> httpx.Response:
        return httpx.get(url, timeout=30)

    def arrives(city: str) -> None:
        warehouse.execute(_MOVED, (city, record))
        eventually(lambda: row(portal, _THERE, record) == (city,))

    environ = {**stack.env, "SINK_KAFKA_CLIENT": client}
    with running(environ, log, "--only", "golden-records", mappings=1):
        arrives("A")
        eventually(lambda: asked().status_code == 200)
        dead_letters = row(portal, _LETTERS)
        for part in ("warehouse", "citizen"):
            stack.stop(part)  # Debezium ends by itself where Kafka is away for long
        stack.kill("kafka")
        eventually(lambda: asked().status_code == 503)
        assert "Kafka does not answer" in asked().text
        stack.revive()
        arrives("B")
        eventually(lambda: asked().status_code == 200)
        assert row(portal, _LETTERS) == dead_letters
