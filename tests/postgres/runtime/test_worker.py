"""The loop between a log and a database, while both and the group around it misbehave."""

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

pytestmark = pytest.mark.postgres


def crash_at(rng: random.Random, chance: float) -> Callable[[Any], None]:
    def before(_: Any) -> None:
        if rng.random() < chance:
            raise RuntimeError("crash")

    return before


@pytest.mark.parametrize("seed", range(4))
def test_crashes_neither_lose_nor_repeat_a_row(stage: Any, seed: int) -> None:
    rng = random.Random(seed)
    stage.log(3)
    for number in range(60):
        stage.broker.send(rng.randrange(3), number)
    crashes = 0
    while len(stage.audit()) < 60:
        worker, _, stop = stage.worker(before=crash_at(rng, 0.25), most=rng.randint(1, 2))
        apply, after = worker._committer.apply, crash_at(rng, 0.25)

        def dies_late(*args: Any, apply: Any = apply, after: Any = after, **options: Any) -> int:
            written = apply(*args, **options)
            after(written)
            return written

        worker._committer.apply = dies_late
        with stage.run(worker, stop) as running:
            while running.is_alive() and len(stage.audit()) < 60:
                time.sleep(0.005)
        crashes += isinstance(running.fault, RuntimeError)
        assert running.fault is None or isinstance(running.fault, RuntimeError)
    assert crashes
    assert stage.audit() == list(range(60))


@pytest.mark.parametrize("seed", range(3))
def test_the_group_may_move_partitions_at_any_time(stage: Any, seed: int) -> None:
    rng = random.Random(seed)
    stage.log(4)
    first, second = (stage.running(name, most=2) for name in ("one", "two"))
    with first as one, second as two:
        for number in range(120):
            stage.broker.send(rng.randrange(4), number)
            if number % 6 == 0:
                mine = {p for p in range(4) if rng.random() < 0.5}
                stage.broker.share(one=mine, two={0, 1, 2, 3} - mine)
                time.sleep(0.02)
        stage.until(list(range(120)))
        assert (one.fault, two.fault) == (None, None)


class TestWaiting:
    def test_a_slow_target_slows_the_polling(self, stage: Any) -> None:
        gate, inside = threading.Event(), threading.Event()

        def block(_: Any) -> None:
            inside.set()
            gate.wait(20)

        for number in range(30):
            stage.broker.send(0, number)
        with stage.running(before=block, most=1):
            assert inside.wait(10)
            time.sleep(0.5)
            # The first poll only gave what was there before the seek.
            assert stage.broker.polled <= 3
            gate.set()
            stage.until(list(range(30)))

    def test_world_is_asked_again_after_configured_times(self, stage: Any) -> None:
        stage.retry_after(0.05, 0.2)
        stage.settings = replace(stage.settings, maintenance_seconds=60)
        tried: list[float] = []

        def refuse(_: Any) -> None:
            tried.append(time.monotonic())
            if len(tried) < 4:
                raise RetriableError("not now")

        stage.broker.send(0, 0)
        with stage.running(before=refuse):
            stage.until([0])
        waited = [b - a for a, b in pairwise(tried)]
        assert [0.05 <= waited[0] < 0.2, waited[1] >= 0.2, waited[2] >= 0.2] == [True] * 3

    @pytest.mark.parametrize("where", ["open", "poll", "write"])
    def test_being_told_to_stop_ends_waiting_at_once(self, stage: Any, where: str) -> None:
        stage.retry_after(60)
        stage.settings = replace(stage.settings, maintenance_seconds=60)
        waiting = threading.Event()

        def refuse(*_: Any) -> Any:
            waiting.set()
            raise RetriableError("not now")

        stage.broker.send(0, 0)
        worker, consumer, stop = stage.worker(before=refuse)
        if where == "open":
            worker._open_feed = refuse
        elif where == "poll":
            consumer.poll = refuse
        with stage.run(worker, stop) as running:
            assert waiting.wait(10)
            started = time.monotonic()
            stop.set()
            running.join(10)
            assert time.monotonic() - started < 5
        assert running.fault is None
        assert stage.watcher.seen == ["startup", "shutdown"]
        assert stage.audit() == []

    def test_answer_just_after_wait_is_answer(self, stage: Any) -> None:
        class Late(Future):
            def result(self, timeout: float | None = None) -> Any:
                if not self.done():
                    self.set_result("late")
                    raise TimeoutError
                return super().result(timeout)

        worker, *_ = stage.worker()
        assert worker._await(Late()) == "late"

    def test_silent_group_is_no_fault(self, stage: Any) -> None:
        def refuse() -> None:
            raise RetriableError("not now")

        stage.broker.send(0, 0)
        worker, consumer, stop = stage.worker(before=lambda _: time.sleep(0.5))
        consumer.keep_alive = refuse
        with stage.run(worker, stop) as running:
            stage.until([0])
        assert running.fault is None


def test_foreign_record_is_kept_and_others_continue(stage: Any) -> None:
    for number, value in enumerate((0, b"garbage", 2)):
        stage.broker.send(0, value, key=b"%d" % number)
    with stage.running() as running:
        stage.until([0, 2])
    assert running.worker.counts == {"written": 2, "dead": 1}
    assert stage.watcher.seen == ["startup", "committed 2", "shutdown"]


def test_told_to_stop_it_finishes_batch_at_hand(stage: Any) -> None:
    inside = threading.Event()

    def slow(_: Any) -> None:
        inside.set()
        time.sleep(0.3)

    stage.broker.send(0, 0)
    with stage.running(before=slow) as running:
        assert inside.wait(10)
        running.stop.set()
        running.join(10)
    assert (running.fault, stage.audit()) == (None, [0])
    assert stage.broker.committed == {0: 1}
