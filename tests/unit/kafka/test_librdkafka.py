"""The feed by librdkafka while a writer retries: the partitions are paused."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from sink_runner.kafka import librdkafka
from sink_runner.kafka.connection import KafkaConnection


class Clock:
    """The monotonic clock, which a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Consumer:
    """As much of librdkafka as the feed uses: two partitions without an end."""

    def __init__(self, _settings: Any) -> None:
        self.partitions = {0, 1}
        self.paused: set[int] = set()
        self.offset = 0
        self.taken = 0

    def subscribe(self, _topics: Sequence[str]) -> None:
        """Every partition is assigned from the beginning."""

    def assignment(self) -> list[Any]:
        return [SimpleNamespace(partition=one) for one in sorted(self.partitions)]

    def pause(self, partitions: Sequence[Any]) -> None:
        self.paused |= {one.partition for one in partitions}

    def resume(self, partitions: Sequence[Any]) -> None:
        self.paused -= {one.partition for one in partitions}

    def consume(self, most: int, _seconds: float) -> list[Any]:
        free = sorted(self.partitions - self.paused)
        found = [self._record(free[0]) for _ in range(min(most, 3))] if free else []
        self.taken += len(found)
        return found

    def _record(self, partition: int) -> Any:
        self.offset += 1
        values = {"partition": partition, "offset": self.offset, "key": b"k", "value": b"v"}
        values["timestamp"] = (1, 1_000 + self.offset)
        values["leader_epoch"] = None if self.offset % 2 else 0
        return SimpleNamespace(
            error=lambda: None, headers=lambda: None, **{n: _answer(v) for n, v in values.items()}
        )

    def close(self) -> None:
        """Nothing is open."""


def _answer(value: Any) -> Callable[[], Any]:
    return lambda: value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(librdkafka, "Consumer", Consumer)
    monkeypatch.setattr(librdkafka, "time", SimpleNamespace(monotonic=made, sleep=lambda _: None))
    return made


def test_partitions_pause_while_a_writer_retries(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=10)
    consumer: Any = feed._consumer
    feed.poll(0.1)
    taken = consumer.taken
    for _ in range(1_000):
        clock.now += 0.2
        feed.keep_alive()
    assert consumer.paused == {0, 1}
    assert consumer.taken == taken
    assert feed._held == []
    assert feed.poll(0.1)
    assert consumer.paused == set()


def test_unknown_leader_epoch_is_kafkas_number(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=2)
    assert [one.leader_epoch for one in feed.poll(0.1)[0][:2]] == [-1, 0]


def test_usual_write_pauses_nothing(clock: Clock) -> None:
    feed = librdkafka.LibrdkafkaFeed(KafkaConnection("b"), "g", "t", max_records=10)
    consumer: Any = feed._consumer
    for _ in range(20):
        feed.poll(0.1)
        feed.keep_alive()
        clock.now += 0.4
        feed.keep_alive()
        assert consumer.paused == set()


def test_partition_assigned_meanwhile_is_paused_too(clock: Clock) -> None:
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
