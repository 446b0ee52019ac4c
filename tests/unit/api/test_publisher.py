"""A Kafka that is not there is not asked by everybody who calls: threads are few."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sink_runner.api.publisher import Publisher
from sink_runner.kafka.connection import KafkaConnection

RECORDS = [(b"k", b"v")] * 2


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A port that nobody listens on, and nobody else gets."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused


@pytest.fixture
def publisher(port: socket.socket) -> Iterator[Publisher]:
    connection = KafkaConnection(f"127.0.0.1:{port.getsockname()[1]}")
    made = Publisher(connection, delivery_seconds=5, max_record_bytes=1000)
    yield made
    made.close()


def test_absent_kafka_leaves_no_thread(publisher):
    threads = threading.active_count()
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda _: publisher.publish("t", RECORDS), range(20)))
    assert told == [[None, None]] * 20
    assert threading.active_count() == threads
    assert not publisher.answers()


def test_after_failure_kafka_is_left_alone_for_while(publisher, port):
    assert publisher.publish("t", RECORDS) == [None, None]
    port.listen()
    port.settimeout(0)
    assert publisher.publish("t", RECORDS) == [None, None]
    with pytest.raises(BlockingIOError):  # nobody came
        port.accept()
    assert publisher.answers()
    assert port.accept()[0].close() is None
