"""A worker holds a bounded number of bytes of decoded rows, whatever their number."""

import gc
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from sink_runner.errors import RetriableError
from sink_runner.model.changes import Write
from sink_runner.model.envelope import Decoded

pytestmark = pytest.mark.postgres

MIB = 1024 * 1024
LARGE = 4 * MIB


def held_bytes() -> int:
    """The text of all decoded rows that are alive in this process, each value once."""
    alive = [one for one in gc.get_objects() if isinstance(one, Decoded | Write)]
    rows = [one.values if isinstance(one, Write) else one.after for one in alive]
    texts = {id(value): value for row in rows if row for value in row if isinstance(value, str)}
    return sum(map(len, texts.values()))


class Watch:
    """Measures what is held while a batch is written, which takes so long that others pile up."""

    def __init__(self, failures: int = 0) -> None:
        self.peak = 0
        self.batches: list[int] = []
        self._failures = failures
        self._lock = threading.Lock()

    def __call__(self, changes: list[Any]) -> None:
        time.sleep(0.1)
        self.batches.append(len(changes))
        with self._lock:
            self.peak = max(self.peak, held_bytes())
        if self._failures:
            self._failures -= 1
            raise RetriableError("the target does not answer")


@pytest.fixture
def wide(wide: Any) -> Any:
    """Two large records fit into a batch."""
    wide.settings = replace(wide.settings, max_bytes=2 * LARGE + MIB)
    return wide


def send(stage: Any, count: int, size: int = LARGE) -> None:
    for number in range(count):
        stage.broker.send(0, number, need="x" * size)


@pytest.mark.parametrize("failures", [0, 3])
def test_two_batches_of_bounded_bytes_are_held(wide: Any, failures: int) -> None:
    watch = Watch(failures)
    send(wide, 12)
    worker, _, stop = wide.worker(before=watch, most=12)
    with wide.run(worker, stop):
        wide.until(list(range(12)))
    assert watch.batches[failures:] == [2] * 6
    assert 2 * LARGE < watch.peak <= 2 * wide.settings.max_bytes


def test_record_larger_than_the_bound_is_written_alone(wide: Any) -> None:
    watch = Watch()
    wide.settings = replace(wide.settings, max_bytes=MIB)
    send(wide, 3)
    worker, _, stop = wide.worker(before=watch)
    with wide.run(worker, stop):
        wide.until([0, 1, 2])
    assert watch.batches == [1, 1, 1]


def test_small_records_share_a_batch(wide: Any) -> None:
    watch = Watch()
    send(wide, 12, size=10)
    worker, _, stop = wide.worker(before=watch, most=12)
    with wide.run(worker, stop):
        wide.until(list(range(12)))
    assert watch.batches == [12]


def test_records_do_not_linger_once_they_fill_batch(wide: Any) -> None:
    wide.settings = replace(wide.settings, linger=60.0, max_batch_rows=100)
    send(wide, 6)
    worker, _, stop = wide.worker(most=1)
    with wide.run(worker, stop):
        wide.until(list(range(6)))


def test_stop_leaves_the_later_portions_of_a_poll(wide: Any) -> None:
    worker, _, stop = wide.worker(before=lambda _: stop.set(), most=12)
    send(wide, 12)
    with wide.run(worker, stop) as running:
        running.join(20)
    assert len(wide.audit()) <= 4
    worker, _, stop = wide.worker(most=12)
    with wide.run(worker, stop):
        wide.until(list(range(12)))
