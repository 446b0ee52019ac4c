"""During an outage of Kafka, calls neither start threads nor open connections."""

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
    """A reserved port without a listener."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved


@pytest.fixture
def publisher(port: socket.socket) -> Iterator[Publisher]:
    connection = KafkaConnection(f"127.0.0.1:{port.getsockname()[1]}")
    publisher = Publisher(connection, delivery_seconds=5, max_record_bytes=1000)
    yield publisher
    publisher.close()


def test_outage_of_kafka_leaves_no_thread(publisher):
    threads = threading.active_count()
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: publisher.publish("t", RECORDS), range(20)))
    assert results == [[None, None]] * 20
    assert threading.active_count() == threads
    assert not publisher.answers()


def test_publisher_does_not_reconnect_right_after_failure(publisher, port):
    assert publisher.publish("t", RECORDS) == [None, None]
    port.listen()
    port.settimeout(0)
    assert publisher.publish("t", RECORDS) == [None, None]
    with pytest.raises(BlockingIOError):  # there was no connection
        port.accept()
    assert publisher.answers()
    assert port.accept()[0].close() is None
