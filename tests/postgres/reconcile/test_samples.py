"""A sample of the written rows is compared in the background, and never repaired."""

import threading
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from sink_runner.config.sections import Reconcile
from sink_runner.loading import discovery
from sink_runner.model.batch import Batch
from sink_runner.model.changes import Write
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.model.message import Message
from sink_runner.reconcile.samples import MODE, SampleComparison, SampleQueue
from sink_runner.runtime.runner import comparing_samples

from .conftest import StubMarker
from .test_comparing import people
from .test_repairing import rows

NAME = "golden-records"
RUNS = "SELECT mode, outcome, counts FROM sink.reconcile_run"
DAMAGE = "UPDATE profile_data SET city = 'Elsewhere' WHERE full_name = 'Person 7'"
__all__ = ["people"]


def write(key: str) -> Write:
    message = Message("t", 0, 0, key.encode(), b"")
    return Write((key,), (), 0, partial=False, position=None, source=message)


def test_full_queue_drops_further_keys() -> None:
    queue = SampleQueue(100, max_keys=3)
    for _ in range(2):
        queue.offer("one", Batch(changes=[write(key) for key in "abcde"]))
    queue.offer("two", Batch(changes=[write("a")]))
    taken = queue.take()
    assert (taken["one"].keys, taken["one"].dropped) == ({("a",), ("b",), ("c",)}, 7)
    assert taken["two"].keys == {("a",)}
    assert queue.take() == {}


def test_sample_has_share_of_written_rows() -> None:
    queue = SampleQueue(10, max_keys=10_000)
    queue.offer("one", Batch(changes=[write(str(number)) for number in range(5_000)]))
    assert 300 < len(queue.take()["one"].keys) < 700


def test_failed_rows_are_not_sampled() -> None:
    queue, change = SampleQueue(100), write("a")
    failed = DeadLetter(change.source, ValueError())
    queue.offer("one", Batch(changes=[change], dead_letters=[failed]))
    assert queue.take()["one"].keys == set()


def compare(pair, marker=None, keys=None) -> list[dict]:
    """Offer these keys, or all of the target, and compare them."""
    plugin = discovery.installed()[NAME]
    discovery.load(plugin)
    queue = SampleQueue(100)
    queue.offer(NAME, Batch(changes=[write(str(key)) for key in keys or rows(pair)]))
    comparison = SampleComparison(
        queue,
        discovery.usable([plugin]),
        pair.config(),
        stop=threading.Event(),
        marker=lambda *_: marker or StubMarker(),
    )
    with capture_logs() as logs:
        comparison.compare()
    return logs


@pytest.mark.postgres
def test_equal_sample_stores_nothing(people) -> None:
    logs = compare(people)
    assert {"event": "sample_compared", "compared": 30, "different": 0}.items() <= logs[-1].items()
    assert people.citizen.execute(RUNS).fetchall() == []


@pytest.mark.postgres
def test_different_row_of_sample_is_stored(people) -> None:
    """Also while another reconciliation of the mapping runs; the row is not repaired."""
    people.citizen.execute(DAMAGE)
    before = rows(people)
    with people.parts(NAME):
        compare(people)
    (run,) = people.citizen.execute(RUNS).fetchall()
    assert run[:2] == (MODE, "different")
    assert {"read": 30, "different": 1}.items() <= run[2].items()
    assert rows(people) == before
    find = "SELECT kind, columns, repaired FROM sink.reconcile_finding"
    assert people.citizen.execute(find).fetchall() == [("different", ["city"], False)]


@pytest.mark.postgres
def test_change_in_flight_stores_nothing(people) -> None:
    people.citizen.execute(DAMAGE)
    undo = DAMAGE.replace("'Elsewhere'", "NULL")
    compare(people, StubMarker(lambda: people.citizen.execute(undo)))
    assert people.citizen.execute(RUNS).fetchall() == []


@pytest.mark.postgres
def test_failed_comparison_is_logged(people) -> None:
    keys = [*rows(people)]
    people.citizen.execute("ALTER TABLE profile_data RENAME TO gone")
    (line,) = compare(people, keys=keys)
    assert (line["event"], line["mapping"]) == ("sample_comparison_failed", NAME)


@pytest.mark.postgres
def test_setting_turns_sampling_on(people) -> None:
    config, stop = people.config(), threading.Event()
    with comparing_samples(config, [], stop) as queue:
        assert queue is None
    config = replace(config, reconcile=Reconcile(sample_percent=100))
    with comparing_samples(config, [], stop) as queue:
        queue.offer(NAME, Batch(changes=[write("a")]))
