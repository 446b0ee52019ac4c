"""How long publishing takes where Kafka is of no help, whatever is published."""

import time

import pytest
from kafka import errors

from sink_runner.api import publisher
from sink_runner.api.publisher import Publisher


class WithoutTopic:
    """Kafka's producer where the topic is not there: each record waits for it in vain."""

    def __init__(self, **settings: object) -> None:
        self._seconds = settings["max_block_ms"] / 1000

    def send(self, *_: object, **__: object) -> None:
        time.sleep(self._seconds)
        raise errors.KafkaTimeoutError

    def close(self, timeout: float) -> None:
        pass


def test_a_request_takes_no_longer_the_more_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "KafkaProducer", WithoutTopic)
    made = Publisher("127.0.0.1:1", delivery_seconds=0.2, max_record_bytes=100)
    began = time.monotonic()
    assert made.publish("topic", [(b"key", b"value")] * 20) == [None] * 20
    assert time.monotonic() - began < 1
