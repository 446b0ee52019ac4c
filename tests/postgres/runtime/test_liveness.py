"""An outage of Kafka is noticed, though a poll tells nothing of it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.errors import RetriableError
from sink_runner.kafka.liveness import BrokerLiveness
from sink_runner.model.status import Health


class Kafka:
    """A feed that brings what it is told, answers or not, and counts how often it is asked."""

    now, asked, away, brings = 0.0, 0, False, False

    def clock(self) -> float:
        return self.now

    def poll(self, seconds: float) -> bool:
        """Let time pass, and have what the poll brought observed."""
        self.now += seconds
        self.liveness.observe(self, received=self.brings)  # type: ignore[arg-type]
        return self.brings

    def ping(self) -> None:
        self.asked += 1
        if self.away:
            raise RetriableError("Kafka does not answer")

    def listened_to(self, health: Health) -> Any:
        health.mapping("one").running()
        self.liveness = BrokerLiveness(health.mapping("one"), 10, clock=self.clock)
        return self


def eventually(what: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert what()


def test_silence_makes_worker_ping_kafka() -> None:
    kafka = Kafka()
    feed = kafka.listened_to(Health())
    kafka.brings = True
    assert all(feed.poll(1) for _ in range(100))
    assert kafka.asked == 0
    kafka.brings = False
    assert not any(feed.poll(1) for _ in range(35))
    assert kafka.asked == 3


@pytest.mark.parametrize("brings", [True, False])
def test_outage_of_kafka_is_logged_once(brings: bool) -> None:  # noqa: FBT001
    kafka, health = Kafka(), Health()
    feed = kafka.listened_to(health)
    kafka.away = True
    with capture_logs() as logs:
        for _ in range(3):
            assert not feed.poll(11)
            assert not health.ready()
        kafka.away, kafka.brings = False, brings
        feed.poll(11)
    assert health.ready()
    assert [line["event"] for line in logs] == ["mapping_paused", "mapping_resumed"]
    assert "RetriableError" in logs[0]["reason"]  # raised by a test, it is not quoted


def test_who_is_paused_for_another_reason_stays_so() -> None:
    kafka, health = Kafka(), Health()
    feed = kafka.listened_to(health)
    health.mapping("one").paused("the disk is full")
    feed.poll(11)
    assert kafka.asked == 1
    assert not health.ready()


@pytest.mark.postgres
def test_mapping_is_paused_while_kafka_is_away(stage: Any) -> None:
    stage.silence = 0.05
    with stage.running():
        stage.broker.send(0, 1)
        stage.until([1])
        stage.health.mapping("staged").running()
        assert stage.health.ready()
        stage.broker.away = True
        eventually(lambda: not stage.health.ready())
        stage.broker.away = False
        eventually(stage.health.ready)
        stage.broker.send(0, 2)
        stage.until([1, 2])
