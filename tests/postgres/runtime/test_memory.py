"""A worker keeps a bounded number of bytes of decoded rows in memory."""

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


def decoded_bytes() -> int:
    """Return the size of all decoded rows in this process; a shared value counts once."""
    alive = [one for one in gc.get_objects() if isinstance(one, Decoded | Write)]
    rows = [one.values if isinstance(one, Write) else one.after for one in alive]
    texts = {id(value): value for row in rows if row for value in row if isinstance(value, str)}
    return sum(map(len, texts.values()))


class MemoryProbe:
    """Measures the decoded rows during each write; the writes are slow, so that records pile up."""

    def __init__(self, failures: int = 0) -> None:
        self.peak = 0
        self.batches: list[int] = []
        self._failures = failures
        self._lock = threading.Lock()

    def __call__(self, changes: list[Any]) -> None:
        time.sleep(0.1)
        self.batches.append(len(changes))
        with self._lock:
            self.peak = max(self.peak, decoded_bytes())
        if self._failures:
            self._failures -= 1
            raise RetriableError("the target does not answer")


@pytest.fixture
def text_harness(text_harness: Any) -> Any:
    """A harness in which two large records fit into a batch."""
    text_harness.settings = replace(text_harness.settings, max_bytes=2 * LARGE + MIB)
    return text_harness


def send(harness: Any, count: int, size: int = LARGE) -> None:
    for number in range(count):
        harness.broker.send(0, number, need="x" * size)


@pytest.mark.parametrize("failures", [0, 3])
def test_memory_holds_two_batches_of_bounded_bytes(text_harness: Any, failures: int) -> None:
    probe = MemoryProbe(failures)
    send(text_harness, 12)
    worker, _, stop = text_harness.worker(before_commit=probe, max_records=12)
    with text_harness.run(worker, stop):
        text_harness.wait_for(list(range(12)))
    assert probe.batches[failures:] == [2] * 6
    assert 2 * LARGE < probe.peak <= 2 * text_harness.settings.max_bytes


def test_record_larger_than_limit_is_written_alone(text_harness: Any) -> None:
    probe = MemoryProbe()
    text_harness.settings = replace(text_harness.settings, max_bytes=MIB)
    send(text_harness, 3)
    worker, _, stop = text_harness.worker(before_commit=probe)
    with text_harness.run(worker, stop):
        text_harness.wait_for([0, 1, 2])
    assert probe.batches == [1, 1, 1]


def test_small_records_share_a_batch(text_harness: Any) -> None:
    probe = MemoryProbe()
    send(text_harness, 12, size=10)
    worker, _, stop = text_harness.worker(before_commit=probe, max_records=12)
    with text_harness.run(worker, stop):
        text_harness.wait_for(list(range(12)))
    assert probe.batches == [12]


def test_records_do_not_linger_once_they_fill_batch(text_harness: Any) -> None:
    text_harness.settings = replace(text_harness.settings, linger=60.0, max_batch_rows=100)
    send(text_harness, 6)
    worker, _, stop = text_harness.worker(max_records=1)
    with text_harness.run(worker, stop):
        text_harness.wait_for(list(range(6)))


def test_stop_leaves_later_batches_of_a_poll(text_harness: Any) -> None:
    worker, _, stop = text_harness.worker(before_commit=lambda _: stop.set(), max_records=12)
    send(text_harness, 12)
    with text_harness.run(worker, stop) as running:
        running.join(60)
    assert len(text_harness.written_ids()) <= 4
    worker, _, stop = text_harness.worker(max_records=12)
    with text_harness.run(worker, stop):
        text_harness.wait_for(list(range(12)))
