"""The worker with deferred events: others are applied, and the order of each key is kept."""

import random
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ...support.waits import eventually

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"


def test_deferred_events_are_applied_in_order(lookup_harness: Any) -> None:
    lookup_harness.known = {"a"}
    lookup_harness.broker.send(0, 0, key=b"one", need="b")
    for number in range(1, 9):
        lookup_harness.broker.send(0, number, key=b"two" if number % 2 else b"one", need="a")
    with lookup_harness.running(max_records=2, before_commit=lambda _: time.sleep(0.02)) as running:
        lookup_harness.wait_for([1, 3, 5, 7])
        eventually(lambda: running.worker.counts["deferred"] == 5)
        time.sleep(0.1)
        assert lookup_harness.written_ids() == [1, 3, 5, 7]
        lookup_harness.known |= {"b"}
        lookup_harness.wait_for(list(range(9)))
        eventually(lambda: running.worker.counts["replayed"] == 5)
        lookup_harness.broker.send(0, 9, key=b"one", need="a")
        lookup_harness.wait_for(list(range(10)))
    assert lookup_harness.write_order() == [1, 3, 5, 7, 0, 2, 4, 6, 8, 9]
    assert running.worker.counts == {"written": 5, "deferred": 5, "replayed": 5}
    assert lookup_harness.hooks.failed == []


def test_replayed_event_keeps_the_stored_leader_epoch(lookup_harness: Any) -> None:
    lookup_harness.broker.send(0, 0, key=b"one", need="a", leader_epoch=3)
    with lookup_harness.running() as running:
        eventually(lambda: running.worker.counts["deferred"] == 1)
        lookup_harness.known = {"a"}
        lookup_harness.wait_for([0])
        eventually(lambda: running.worker.counts["replayed"] == 1)
    with lookup_harness.target.connection.transaction():
        (claim,) = (
            lookup_harness.offsets("two").claim(lookup_harness.target.connection, [0]).values()
        )
    assert (claim.next_offset, claim.leader_epoch) == (1, 3)


def test_restarted_runner_applies_deferred_events(lookup_harness: Any) -> None:
    lookup_harness.broker.send(0, 0, key=b"one", need="a")
    with lookup_harness.running() as first:
        eventually(lambda: first.worker.counts["deferred"] == 1)
    lookup_harness.known = {"a", "b"}
    lookup_harness.broker.send(0, 1, key=b"one", need="b")
    with lookup_harness.running("one"):
        lookup_harness.wait_for([0, 1])
    assert lookup_harness.write_order() == [0, 1]


def test_deferred_events_move_with_their_partition(lookup_harness: Any) -> None:
    lookup_harness.use_partitions(2)
    for number in range(4):
        lookup_harness.broker.send(number % 2, number, key=b"one", need="a")
    with lookup_harness.running("one") as one, lookup_harness.running("two") as two:
        eventually(lambda: one.worker.counts["deferred"] == 4)
        lookup_harness.broker.assign(one={0}, two={1})
        eventually(lambda: 1 in two.worker._claims)
        lookup_harness.known = {"a"}
        lookup_harness.wait_for([0, 1, 2, 3])
        eventually(lambda: one.worker.counts["replayed"] == two.worker.counts["replayed"] == 2)
    assert (one.error, two.error) == (None, None)


def test_expired_event_is_reported_once(lookup_harness: Any) -> None:
    lookup_harness.broker.send(0, 0, key=b"one", need=SECRET)
    with capture_logs() as logs, lookup_harness.running() as running:
        eventually(lambda: running.worker.counts["deferred"] == 1)
        time.sleep(0.2)
        assert lookup_harness.hooks.failed == []
        lookup_harness.now = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=25)
        eventually(lambda: running.worker.counts["dead"] == 1)
        time.sleep(0.2)
    assert lookup_harness.hooks.failed == ["ExpiredError"]
    logged = [(line["event"], line.get("count"), line.get("kind")) for line in logs]
    assert ("events_deferred", 1, None) in logged
    assert logged.count(("dead_letter", None, "ExpiredError")) == 1
    assert SECRET not in str(logs)


@pytest.mark.parametrize("seed", range(4))
def test_row_order_survives_crashes(lookup_harness: Any, seed: int) -> None:
    rng = random.Random(seed)
    lookup_harness.use_partitions(2)
    sent: dict[bytes, list[int]] = defaultdict(list)
    for number in range(40):
        key = b"%d" % rng.randrange(5)
        sent[key].append(number)
        lookup_harness.broker.send(int(key) % 2, number, key=key, need=rng.choice("abc"))

    def crash(_: Any) -> None:
        if rng.random() < 0.1:
            raise RuntimeError("crash")

    while len(lookup_harness.written_ids()) < 40:
        worker, _, stop = lookup_harness.worker(before_commit=crash, max_records=rng.randint(1, 3))
        with lookup_harness.run(worker, stop) as running:
            deadline = time.monotonic() + rng.random() / 4
            while (
                running.is_alive()
                and len(lookup_harness.written_ids()) < 40
                and time.monotonic() < deadline
            ):
                time.sleep(0.005)
        assert running.error is None or isinstance(running.error, RuntimeError)
        lookup_harness.known |= set(rng.sample("abc", rng.randint(0, 1)))
    written = lookup_harness.write_order()
    assert sorted(written) == list(range(40))
    for numbers in sent.values():
        assert [number for number in written if number in numbers] == numbers
