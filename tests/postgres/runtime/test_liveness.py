"""A worker detects an outage of Kafka, although a poll looks the same as without records."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.errors import RetriableError
from sink_runner.kafka.liveness import BrokerLiveness
from sink_runner.model.status import Health

from ...support.waits import eventually


class Kafka:
    """A feed with a clock, whose polls and pings a test controls; it counts the pings."""

    now, pings, is_down, has_records = 0.0, 0, False, False

    def clock(self) -> float:
        return self.now

    def poll(self, seconds: float) -> bool:
        """Advance the clock, and let the liveness check observe the poll."""
        self.now += seconds
        self.liveness.observe(self, received=self.has_records)  # type: ignore[arg-type]
        return self.has_records

    def ping(self) -> None:
        self.pings += 1
        if self.is_down:
            raise RetriableError("Kafka does not answer")

    def attach_to(self, health: Health) -> Any:
        health.mapping("one").running()
        self.liveness = BrokerLiveness(health.mapping("one"), 10, clock=self.clock)
        return self


def test_silence_makes_worker_ping_kafka() -> None:
    kafka = Kafka()
    feed = kafka.attach_to(Health())
    kafka.has_records = True
    assert all(feed.poll(1) for _ in range(100))
    assert kafka.pings == 0
    kafka.has_records = False
    assert not any(feed.poll(1) for _ in range(35))
    assert kafka.pings == 3


@pytest.mark.parametrize("has_records", [True, False])
def test_outage_of_kafka_is_logged_once(has_records: bool) -> None:  # noqa: FBT001
    kafka, health = Kafka(), Health()
    feed = kafka.attach_to(health)
    kafka.is_down = True
    with capture_logs() as logs:
        for _ in range(3):
            assert not feed.poll(11)
            assert not health.ready()
        kafka.is_down, kafka.has_records = False, has_records
        feed.poll(11)
    assert health.ready()
    assert [line["event"] for line in logs] == ["mapping_paused", "mapping_resumed"]
    assert (
        "RetriableError" in logs[0]["reason"]
    )  # only the class: the text of an unknown error may be personal


def test_mapping_paused_for_other_reason_stays_paused() -> None:
    kafka, health = Kafka(), Health()
    feed = kafka.attach_to(health)
    health.mapping("one").paused("the disk is full")
    feed.poll(11)
    assert kafka.pings == 1
    assert not health.ready()


@pytest.mark.postgres
def test_mapping_is_paused_while_kafka_is_down(harness: Any) -> None:
    harness.silence_seconds = 0.05
    with harness.running():
        harness.broker.send(0, 1)
        harness.wait_for([1])
        harness.health.mapping("staged").running()
        assert harness.health.ready()
        harness.broker.is_down = True
        eventually(lambda: not harness.health.ready())
        harness.broker.is_down = False
        eventually(harness.health.ready)
        harness.broker.send(0, 2)
        harness.wait_for([1, 2])
