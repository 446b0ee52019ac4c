"""The loop, where events wait for what they need: others go on, and none is overtaken."""

import random
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra-17"


def eventually(what: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert what()


def test_deferred_events_follow_in_order(needy: Any) -> None:
    needy.known = {"a"}
    needy.broker.send(0, 0, key=b"one", need="b")
    for number in range(1, 9):
        needy.broker.send(0, number, key=b"two" if number % 2 else b"one", need="a")
    with needy.running(most=2, before=lambda _: time.sleep(0.02)) as running:
        needy.until([1, 3, 5, 7])
        eventually(lambda: running.worker.counts["deferred"] == 5)
        time.sleep(0.1)
        assert needy.audit() == [1, 3, 5, 7]
        needy.known |= {"b"}
        needy.until(list(range(9)))
        eventually(lambda: running.worker.counts["replayed"] == 5)
        needy.broker.send(0, 9, key=b"one", need="a")
        needy.until(list(range(10)))
    assert needy.written() == [1, 3, 5, 7, 0, 2, 4, 6, 8, 9]
    assert running.worker.counts == {"written": 5, "deferred": 5, "replayed": 5}
    assert needy.watcher.failed == []


def test_replayed_event_keeps_the_stored_leader_epoch(needy: Any) -> None:
    needy.broker.send(0, 0, key=b"one", need="a", leader_epoch=3)
    with needy.running() as running:
        eventually(lambda: running.worker.counts["deferred"] == 1)
        needy.known = {"a"}
        needy.until([0])
        eventually(lambda: running.worker.counts["replayed"] == 1)
    with needy.made.connection.transaction():
        (claim,) = needy.offsets("two").claim(needy.made.connection, [0]).values()
    assert (claim.next_offset, claim.leader_epoch) == (1, 3)


def test_restarted_runner_applies_deferred_events(needy: Any) -> None:
    needy.broker.send(0, 0, key=b"one", need="a")
    with needy.running() as first:
        eventually(lambda: first.worker.counts["deferred"] == 1)
    needy.known = {"a", "b"}
    needy.broker.send(0, 1, key=b"one", need="b")
    with needy.running("one"):
        needy.until([0, 1])
    assert needy.written() == [0, 1]


def test_what_waits_moves_with_its_partition(needy: Any) -> None:
    needy.log(2)
    for number in range(4):
        needy.broker.send(number % 2, number, key=b"one", need="a")
    with needy.running("one") as one, needy.running("two") as two:
        eventually(lambda: one.worker.counts["deferred"] == 4)
        needy.broker.share(one={0}, two={1})
        eventually(lambda: 1 in two.worker._claims)
        needy.known = {"a"}
        needy.until([0, 1, 2, 3])
        eventually(lambda: one.worker.counts["replayed"] == two.worker.counts["replayed"] == 2)
    assert (one.fault, two.fault) == (None, None)


def test_expired_event_is_reported_once(needy: Any) -> None:
    needy.broker.send(0, 0, key=b"one", need=SECRET)
    with capture_logs() as logs, needy.running() as running:
        eventually(lambda: running.worker.counts["deferred"] == 1)
        time.sleep(0.2)
        assert needy.watcher.failed == []
        needy.now = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=25)
        eventually(lambda: running.worker.counts["dead"] == 1)
        time.sleep(0.2)
    assert needy.watcher.failed == ["ExpiredError"]
    told = [(line["event"], line.get("count"), line.get("kind")) for line in logs]
    assert ("events_deferred", 1, None) in told
    assert told.count(("dead_letter", None, "ExpiredError")) == 1
    assert SECRET not in str(logs)


@pytest.mark.parametrize("seed", range(4))
def test_crashes_and_arrivals_in_whatever_order(needy: Any, seed: int) -> None:
    rng = random.Random(seed)
    needy.log(2)
    lines: dict[bytes, list[int]] = defaultdict(list)
    for number in range(40):
        key = b"%d" % rng.randrange(5)
        lines[key].append(number)
        needy.broker.send(int(key) % 2, number, key=key, need=rng.choice("abc"))

    def crash(_: Any) -> None:
        if rng.random() < 0.1:
            raise RuntimeError("crash")

    while len(needy.audit()) < 40:
        worker, _, stop = needy.worker(before=crash, most=rng.randint(1, 3))
        with needy.run(worker, stop) as running:
            until = time.monotonic() + rng.random() / 4
            while running.is_alive() and len(needy.audit()) < 40 and time.monotonic() < until:
                time.sleep(0.005)
        assert running.fault is None or isinstance(running.fault, RuntimeError)
        needy.known |= set(rng.sample("abc", rng.randint(0, 1)))
    written = needy.written()
    assert sorted(written) == list(range(40))
    for line in lines.values():
        assert [number for number in written if number in line] == line
