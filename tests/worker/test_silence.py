"""An outage of Kafka is noticed, though a poll tells nothing of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sink_runner.errors import RetriableError
from sink_runner.kafka.silence import Silence


class Kafka:
    """Answers or not; counts how often it is asked."""

    now, asked, away = 0.0, 0, False

    def clock(self) -> float:
        return self.now

    def ping(self) -> None:
        self.asked += 1
        if self.away:
            raise RetriableError("Kafka does not answer")


def eventually(what: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert what()


def test_kafka_is_asked_once_in_a_while_of_silence_and_never_while_records_come() -> None:
    kafka = Kafka()
    silence = Silence(kafka.ping, 10, clock=kafka.clock)
    for _ in range(100):
        kafka.now += 1
        silence.note(broken=True)
    assert kafka.asked == 0
    for _ in range(35):
        kafka.now += 1
        silence.note(broken=False)
    assert kafka.asked == 3


def test_it_is_asked_again_at_once_until_it_is_there() -> None:
    kafka = Kafka()
    silence = Silence(kafka.ping, 10, clock=kafka.clock)
    kafka.now, kafka.away = 11.0, True
    for _ in range(3):
        with pytest.raises(RetriableError):
            silence.note(broken=False)
    kafka.away = False
    silence.note(broken=False)
    silence.note(broken=False)
    assert kafka.asked == 4


@pytest.mark.postgres
def test_a_mapping_that_kafka_left_is_paused_until_it_is_back(stage: Any) -> None:
    stage.patience = replace(stage.patience, silence=0.05)
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
