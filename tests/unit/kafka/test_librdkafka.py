"""The feed by librdkafka pauses its partitions while a writer retries."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from sink_runner.kafka import librdkafka
from sink_runner.kafka.connection import KafkaConnection


class Clock:
    """A monotonic clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeConsumer:
    """A consumer of librdkafka with two endless partitions."""

    def __init__(self, _settings: Any) -> None:
        self.partitions = {0, 1}
        self.paused: set[int] = set()
        self.offset = 0
        self.consumed = 0

    def subscribe(self, _topics: Sequence[str]) -> None:
        """Do nothing: both partitions are assigned at the start."""

    def assignment(self) -> list[Any]:
        return [SimpleNamespace(partition=partition) for partition in sorted(self.partitions)]

    def pause(self, partitions: Sequence[Any]) -> None:
        self.paused |= {partition.partition for partition in partitions}

    def resume(self, partitions: Sequence[Any]) -> None:
        self.paused -= {partition.partition for partition in partitions}

    def consume(self, most: int, _seconds: float) -> list[Any]:
        active = sorted(self.partitions - self.paused)
        records = [self._record(active[0]) for _ in range(min(most, 3))] if active else []
        self.consumed += len(records)
        return records

    def _record(self, partition: int) -> Any:
        self.offset += 1
        values = {"partition": partition, "offset": self.offset, "key": b"k", "value": b"v"}
        values["timestamp"] = (1, 1_000 + self.offset)
        values["leader_epoch"] = None if self.offset % 2 else 0
        return SimpleNamespace(
            error=lambda: None, headers=lambda: None, **{n: _method(v) for n, v in values.items()}
        )

    def close(self) -> None:
        """Do nothing."""


def _method(value: Any) -> Callable[[], Any]:
    return lambda: value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(librdkafka, "Consumer", FakeConsumer)
    monkeypatch.setattr(librdkafka, "time", SimpleNamespace(monotonic=clock, sleep=lambda _: None))
    return clock


def test_partitions_are_paused_while_writer_retries(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=10)
    consumer: Any = feed._consumer
    feed.poll(0.1)
    consumed = consumer.consumed
    for _ in range(1_000):
        clock.now += 0.2
        feed.keep_alive()
    assert consumer.paused == {0, 1}
    assert consumer.consumed == consumed
    assert feed._held == []
    assert feed.poll(0.1)
    assert consumer.paused == set()


def test_unknown_leader_epoch_is_minus_one(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=2)
    assert [record.leader_epoch for record in feed.poll(0.1)[0][:2]] == [-1, 0]


def test_short_write_does_not_pause(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=10)
    consumer: Any = feed._consumer
    for _ in range(20):
        feed.poll(0.1)
        feed.keep_alive()
        clock.now += 0.4
        feed.keep_alive()
        assert consumer.paused == set()


def test_newly_assigned_partition_is_paused(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=10)
    consumer: Any = feed._consumer
    feed.poll(0.1)
    feed.keep_alive()
    clock.now += 2
    feed.keep_alive()
    consumer.partitions = {1, 2}
    for _ in range(10):
        feed.keep_alive()
    assert consumer.paused >= {1, 2}
    assert len(feed._held) <= 1
    feed.poll(0.1)
    assert not consumer.paused & consumer.partitions
