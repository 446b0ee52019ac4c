"""Retrying: how long, how loud, and until when."""

import threading
from collections.abc import Callable

import pytest
import structlog
from kafka.errors import KafkaTimeoutError
from structlog.testing import capture_logs

from sink_runner.errors import RetriableError, StoppedError
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.offset_queries import kafka_errors
from sink_runner.model.status import Health, State
from sink_runner.retry import Retrier, RetryPolicy, jittered

STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)
SECRET = "Zarathustra-17"


class Stop(threading.Event):
    """Time passes at once, and is written down with how things stand then."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self.health = health
        self.waited: list[float] = []
        self.stood: list[State] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        self.stood.append(self.health.statuses()["m"].state)
        return self.is_set()


class Runner:
    def __init__(
        self, jitter: Callable[[float], float] = lambda seconds: seconds, *, forever: bool = True
    ) -> None:
        self.health = Health()
        told = self.health.mapping("m")
        told.running()
        self.stop = Stop(self.health)
        policy = RetryPolicy(steps=STEPS, forever=forever, jitter=jitter)
        self.retry = Retrier(policy, self.stop, structlog.get_logger(), told)

    def work(self, failures: int, fault: Exception | None = None) -> Callable[[object], str]:
        left = [fault or RetriableError("not now")] * failures
        self.again: list[object] = []

        def work(again: object) -> str:
            self.again.append(again)
            if left:
                raise left.pop()
            return "done"

        return work


def test_backoff_grows_to_the_longest_step() -> None:
    runner = Runner()
    assert runner.retry(runner.work(8)) == "done"
    assert runner.stop.waited == [*STEPS, 16, 16, 16]
    assert runner.again == [False] + [True] * 8


def test_pause_is_reported_once_after_longest_step() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(8))
    assert runner.stop.stood == [State.RUNNING] * 4 + [State.PAUSED] * 4
    assert runner.health.ready()
    told = [(line["log_level"], line["event"]) for line in logs if line["event"] != "waiting"]
    assert told == [("error", "mapping_paused"), ("info", "mapping_resumed")]


def test_a_short_absence_alarms_nobody() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(4))
    assert runner.stop.stood == [State.RUNNING] * 4
    assert {line["event"] for line in logs} == {"waiting"}


def test_each_fault_begins_with_the_first_step() -> None:
    runner = Runner()
    for _ in range(3):
        runner.retry(runner.work(2))
    assert runner.stop.waited == [1, 2] * 3


def test_our_own_reason_is_told() -> None:
    def work(_again: object) -> None:
        if len(runner.stop.waited) < 5:
            with kafka_errors(KafkaConnection("127.0.0.1:1")):
                raise KafkaTimeoutError

    runner = Runner()
    with capture_logs() as logs:
        runner.retry(work)
    reasons = {line["reason"] for line in logs if "reason" in line}
    assert reasons == {"Kafka does not answer: KafkaTimeoutError"}


def test_text_of_plugin_error_is_not_shown() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(5, RetriableError(SECRET)))
    assert "mapping_paused" in str(logs)
    assert SECRET not in str(logs)


def test_a_plugin_may_ask_for_more_time() -> None:
    runner = Runner()
    runner.retry(runner.work(2, RetriableError("full", retry_after=5.0)))
    assert runner.stop.waited == [5, 5]


def test_what_only_person_ends_is_pause_at_once() -> None:
    class LastingError(RetriableError):
        lasting = True

    runner = Runner()
    runner.retry(runner.work(1, LastingError("schema")))
    assert runner.stop.stood == [State.PAUSED]


def test_told_to_stop_it_stops() -> None:
    runner = Runner()
    runner.stop.set()
    with pytest.raises(StoppedError):
        runner.retry(runner.work(1))


def test_policy_with_an_end_raises_after_its_steps() -> None:
    runner = Runner(forever=False)
    with pytest.raises(RetriableError):
        runner.retry(runner.work(6))
    assert runner.stop.waited == [*STEPS]
    assert runner.again == [False] + [True] * 5
    assert runner.retry(runner.work(5)) == "done"


def test_policy_with_an_end_raises_when_stopped() -> None:
    runner = Runner(forever=False)
    runner.stop.set()
    with pytest.raises(RetriableError):
        runner.retry(runner.work(1))
    assert len(runner.stop.waited) == 1


def test_the_waits_scatter_around_their_step() -> None:
    found = [jittered(10) for _ in range(1_000)]
    assert 8 <= min(found) < 9
    assert 11 < max(found) <= 12


def test_the_scatter_is_what_is_waited() -> None:
    runner = Runner(jitter=lambda seconds: seconds * 1.1)
    runner.retry(runner.work(2))
    assert runner.stop.waited == [1.1, 2.2]
