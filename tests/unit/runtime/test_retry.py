"""Retries: their waits, their reports, and how they end."""

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
    """A stop event whose waits return at once; it records them and the state of the mapping."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self.health = health
        self.waited: list[float] = []
        self.states: list[State] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        self.states.append(self.health.statuses()["m"].state)
        return self.is_set()


class Runner:
    def __init__(
        self, jitter: Callable[[float], float] = lambda seconds: seconds, *, forever: bool = True
    ) -> None:
        self.health = Health()
        mapping = self.health.mapping("m")
        mapping.running()
        self.stop = Stop(self.health)
        policy = RetryPolicy(steps=STEPS, forever=forever, jitter=jitter)
        self.retry = Retrier(policy, self.stop, structlog.get_logger(), mapping)

    def work(self, failures: int, error: Exception | None = None) -> Callable[[object], str]:
        errors = [error or RetriableError("not now")] * failures
        self.retries: list[object] = []

        def work(is_retry: object) -> str:
            self.retries.append(is_retry)
            if errors:
                raise errors.pop()
            return "done"

        return work


def test_backoff_grows_to_the_longest_step() -> None:
    runner = Runner()
    assert runner.retry(runner.work(8)) == "done"
    assert runner.stop.waited == [*STEPS, 16, 16, 16]
    assert runner.retries == [False] + [True] * 8


def test_pause_is_reported_once_after_longest_step() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(8))
    assert runner.stop.states == [State.RUNNING] * 4 + [State.PAUSED] * 4
    assert runner.health.ready()
    reports = [(line["log_level"], line["event"]) for line in logs if line["event"] != "waiting"]
    assert reports == [("error", "mapping_paused"), ("info", "mapping_resumed")]


def test_slow_attempts_are_reported_before_longest_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that waits for a lock takes longer than all steps together."""
    runner, times = Runner(), iter((0.0, 30.9, 31.0))
    monkeypatch.setattr("sink_runner.retry.time.monotonic", lambda: next(times))
    assert runner.retry(runner.work(2)) == "done"
    assert runner.stop.states == [State.RUNNING, State.PAUSED]


def test_short_outage_is_not_reported() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(4))
    assert runner.stop.states == [State.RUNNING] * 4
    assert {line["event"] for line in logs} == {"waiting"}


def test_each_failure_begins_with_first_step() -> None:
    runner = Runner()
    for _ in range(3):
        runner.retry(runner.work(2))
    assert runner.stop.waited == [1, 2] * 3


def test_reason_of_the_runner_is_logged() -> None:
    def work(_is_retry: object) -> None:
        if len(runner.stop.waited) < 5:
            with kafka_errors(KafkaConnection("127.0.0.1:1")):
                raise KafkaTimeoutError

    runner = Runner()
    with capture_logs() as logs:
        runner.retry(work)
    reasons = {line["reason"] for line in logs if "reason" in line}
    assert reasons == {"Kafka does not answer: KafkaTimeoutError"}


def test_text_of_plugin_error_is_not_logged() -> None:
    runner = Runner()
    with capture_logs() as logs:
        runner.retry(runner.work(5, RetriableError(SECRET)))
    assert "mapping_paused" in str(logs)
    assert SECRET not in str(logs)


def test_retry_after_replaces_step() -> None:
    runner = Runner()
    runner.retry(runner.work(2, RetriableError("full", retry_after=5.0)))
    assert runner.stop.waited == [5, 5]


def test_lasting_error_pauses_at_once() -> None:
    class LastingError(RetriableError):
        lasting = True

    runner = Runner()
    runner.retry(runner.work(1, LastingError("schema")))
    assert runner.stop.states == [State.PAUSED]


def test_stop_ends_retries() -> None:
    runner = Runner()
    runner.stop.set()
    with pytest.raises(StoppedError):
        runner.retry(runner.work(1))


def test_finite_policy_raises_after_its_steps() -> None:
    runner = Runner(forever=False)
    with pytest.raises(RetriableError):
        runner.retry(runner.work(6))
    assert runner.stop.waited == [*STEPS]
    assert runner.retries == [False] + [True] * 5
    assert runner.retry(runner.work(5)) == "done"


def test_finite_policy_raises_when_stopped() -> None:
    runner = Runner(forever=False)
    runner.stop.set()
    with pytest.raises(RetriableError):
        runner.retry(runner.work(1))
    assert len(runner.stop.waited) == 1


def test_jitter_is_at_most_twenty_percent() -> None:
    waits = [jittered(10) for _ in range(1_000)]
    assert 8 <= min(waits) < 9
    assert 11 < max(waits) <= 12


def test_wait_includes_jitter() -> None:
    runner = Runner(jitter=lambda seconds: seconds * 1.1)
    runner.retry(runner.work(2))
    assert runner.stop.waited == [1.1, 2.2]
