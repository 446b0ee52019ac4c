"""The worker's loop under crashes, rebalances, slow writes and outages."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sink_runner.errors import RetriableError
from sink_runner.runtime.reporter import Observers

pytestmark = pytest.mark.postgres


def crash_with_chance(rng: random.Random, chance: float) -> Callable[[Any], None]:
    def crash(_: Any) -> None:
        if rng.random() < chance:
            raise RuntimeError("crash")

    return crash


@pytest.mark.parametrize("seed", range(4))
def test_crashes_neither_lose_nor_repeat_a_row(harness: Any, seed: int) -> None:
    rng = random.Random(seed)
    harness.use_partitions(3)
    for number in range(60):
        harness.broker.send(rng.randrange(3), number)
    crashes = 0
    while len(harness.written_ids()) < 60:
        worker, _, stop = harness.worker(
            before_commit=crash_with_chance(rng, 0.25), max_records=rng.randint(1, 2)
        )
        apply, after = worker._committer.apply, crash_with_chance(rng, 0.25)

        def crash_after_commit(
            *args: Any, apply: Any = apply, after: Any = after, **options: Any
        ) -> int:
            written = apply(*args, **options)
            after(written)
            return written

        worker._committer.apply = crash_after_commit
        with harness.run(worker, stop) as running:
            while running.is_alive() and len(harness.written_ids()) < 60:
                time.sleep(0.005)
        crashes += isinstance(running.error, RuntimeError)
        assert running.error is None or isinstance(running.error, RuntimeError)
    assert crashes
    assert harness.written_ids() == list(range(60))


@pytest.mark.parametrize("seed", range(3))
def test_rebalances_neither_lose_nor_repeat_rows(harness: Any, seed: int) -> None:
    rng = random.Random(seed)
    harness.use_partitions(4)
    first, second = (harness.running(name, max_records=2) for name in ("one", "two"))
    with first as one, second as two:
        for number in range(120):
            harness.broker.send(rng.randrange(4), number)
            if number % 6 == 0:
                first_partitions = {p for p in range(4) if rng.random() < 0.5}
                harness.broker.assign(one=first_partitions, two={0, 1, 2, 3} - first_partitions)
                time.sleep(0.02)
        harness.wait_for(list(range(120)))
        assert (one.error, two.error) == (None, None)


class TestWaiting:
    def test_slow_target_slows_polling(self, harness: Any) -> None:
        gate, inside = threading.Event(), threading.Event()

        def block(_: Any) -> None:
            inside.set()
            gate.wait(60)

        for number in range(30):
            harness.broker.send(0, number)
        with harness.running(before_commit=block, max_records=1):
            assert inside.wait(60)
            time.sleep(0.5)
            # The first poll returned records from before the seek.
            assert harness.broker.polls_with_records <= 3
            gate.set()
            harness.wait_for(list(range(30)))

    def test_failed_write_is_retried_at_configured_intervals(self, harness: Any) -> None:
        harness.retry_after(0.05, 0.2)
        harness.settings = replace(harness.settings, maintenance_seconds=60)
        attempts: list[float] = []

        def refuse(_: Any) -> None:
            attempts.append(time.monotonic())
            if len(attempts) < 4:
                raise RetriableError("not now")

        harness.broker.send(0, 0)
        with harness.running(before_commit=refuse):
            harness.wait_for([0])
        waits = [b - a for a, b in pairwise(attempts)]
        assert [0.05 <= waits[0] < 0.2, waits[1] >= 0.2, waits[2] >= 0.2] == [True] * 3

    @pytest.mark.parametrize("where", ["open", "poll", "write"])
    def test_stop_ends_retry_wait_at_once(self, harness: Any, where: str) -> None:
        harness.retry_after(60)
        harness.settings = replace(harness.settings, maintenance_seconds=60)
        waiting = threading.Event()

        def refuse(*_: Any) -> Any:
            waiting.set()
            raise RetriableError("not now")

        harness.broker.send(0, 0)
        worker, consumer, stop = harness.worker(before_commit=refuse)
        if where == "open":
            worker._open_feed = refuse
        elif where == "poll":
            consumer.poll = refuse
        with harness.run(worker, stop) as running:
            assert waiting.wait(60)
            started = time.monotonic()
            stop.set()
            running.join(60)
            assert time.monotonic() - started < 5
        assert running.error is None
        assert harness.hooks.calls == ["startup", "shutdown"]
        assert harness.written_ids() == []

    def test_result_just_after_timeout_is_returned(self, harness: Any) -> None:
        class Late(Future):
            def result(self, timeout: float | None = None) -> Any:
                if not self.done():
                    self.set_result("late")
                    raise TimeoutError
                return super().result(timeout)

        worker, *_ = harness.worker()
        assert worker._await(Late()) == "late"

    def test_failing_keep_alive_does_not_stop_worker(self, harness: Any) -> None:
        def refuse() -> None:
            raise RetriableError("not now")

        harness.broker.send(0, 0)
        worker, consumer, stop = harness.worker(before_commit=lambda _: time.sleep(0.5))
        consumer.keep_alive = refuse
        with harness.run(worker, stop) as running:
            harness.wait_for([0])
        assert running.error is None


def test_undecodable_record_does_not_stop_others(harness: Any) -> None:
    for number, value in enumerate((0, b"garbage", 2)):
        harness.broker.send(0, value, key=b"%d" % number)
    with harness.running() as running:
        harness.wait_for([0, 2])
    assert running.worker.counts == {"written": 2, "dead": 1}
    assert harness.hooks.calls == ["startup", "committed 2", "shutdown"]


def test_stop_finishes_current_batch(harness: Any) -> None:
    inside = threading.Event()

    def write_slowly(_: Any) -> None:
        inside.set()
        time.sleep(0.3)

    harness.broker.send(0, 0)
    with harness.running(before_commit=write_slowly) as running:
        assert inside.wait(60)
        running.stop.set()
        running.join(60)
    assert (running.error, harness.written_ids()) == (None, [0])
    assert harness.broker.committed == {0: 1}


class Observed:
    """A block that notes how it was left."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def __enter__(self) -> None:
        self.events.append("entered")

    def __exit__(self, kind: object, *_: object) -> None:
        self.events.append(kind)


def test_lineage_covers_the_whole_run(harness: Any) -> None:
    observed = Observed()
    with harness.running(observers=Observers(observed)):
        harness.broker.send(0, 0)
        harness.wait_for([0])
        assert observed.events == ["entered"]
    assert observed.events == ["entered", None]


def test_lineage_gets_the_error_of_a_worker(harness: Any) -> None:
    observed = Observed()

    def crash(_: Any) -> None:
        raise RuntimeError("crash")

    harness.broker.send(0, 0)
    worker, _, stop = harness.worker(before_commit=crash, observers=Observers(observed))
    with harness.run(worker, stop) as running:
        running.join(60)
    assert observed.events == ["entered", RuntimeError]


def test_committed_batch_is_sampled(harness: Any) -> None:
    sampled: list[int] = []
    observers = Observers(sample=lambda batch: sampled.append(len(batch.changes)))
    with harness.running(observers=observers):
        harness.broker.send(0, 0)
        harness.wait_for([0])
    assert sum(sampled) == 1
