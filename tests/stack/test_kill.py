"""A runner that dies at any moment, or is told to stop, leaves both databases exactly right.

What is right is computed from the recorded history of the sources, by the specification.
"""

import random
import time

import pytest

from . import fresh, load
from .arena import told, until

pytestmark = pytest.mark.stack

KILLS = 20
SHORTEST, LONGEST = 0.5, 14.0
RATE = 20.0
SETTLE_SECONDS = 120
STOP_SECONDS = 10
# Longer than the session timeout after which Kafka gives a dead runner's partitions away.
TAKEOVER_SECONDS = 90
FAMILIES = 50


@pytest.fixture(scope="module")
def arena(stack, tmp_path_factory):
    with fresh.arena(stack, tmp_path_factory.mktemp("runner") / "log", FAMILIES) as made:
        # Whom the warehouse knows by a number is asked when an event is applied, so the demo's
        # applications have to be there before the load changes numbers.
        with made.runner():
            left = made.settle(SETTLE_SECONDS)
        assert not left, told(left)
        yield made


@pytest.fixture(autouse=True)
def exact(arena):
    """What holds at the end of every test here."""
    yield
    assert arena.dead_letters() == 0
    assert arena.numbers_in_the_log() == 0


def test_twenty_kills_under_load_leave_what_the_specification_says(arena):
    moments = random.Random(20)
    progress, lives = arena.progress(), []
    with load.running(*arena.dsns, seed=1, rate=RATE) as acting:
        for _ in range(KILLS):
            with arena.runner() as runner:
                time.sleep(moments.uniform(SHORTEST, LONGEST))
                assert runner.running, arena.log.read_text()[-2000:]
            reached = arena.progress()
            lives.append(reached - progress)
            progress = reached
    print(f"events applied in each life: {lives}")
    print(f"load: {dict(sorted(acting.done.items()))}")
    # A life may be too short to start in; most are not.
    assert min(lives) >= 0
    assert sum(life > 0 for life in lives) > KILLS / 2
    with arena.runner():
        left = arena.settle(SETTLE_SECONDS)
    assert not left, told(left)


def test_a_runner_told_to_stop_ends_at_once_and_cleanly(arena):
    with load.running(*arena.dsns, seed=2, rate=RATE), arena.runner() as runner:
        before = arena.progress()
        assert until(lambda: arena.progress() > before, TAKEOVER_SECONDS)
        assert runner.terminate(STOP_SECONDS) == 0
    with arena.runner():
        left = arena.settle(SETTLE_SECONDS)
    assert not left, told(left)


def test_a_second_runner_takes_over_when_the_first_is_killed(arena):
    with load.running(*arena.dsns, seed=3, rate=RATE), arena.runner() as first:
        before = arena.progress()
        assert until(lambda: arena.progress() > before, TAKEOVER_SECONDS)
        with arena.runner() as second:
            time.sleep(10)
            assert first.running
            assert second.running
            first.kill()
            reached = arena.partitions()
            assert until(lambda: moved(reached, arena.partitions()), TAKEOVER_SECONDS)
            assert second.running
    with arena.runner():
        left = arena.settle(SETTLE_SECONDS)
    assert not left, told(left)


def moved(before, after) -> bool:
    return all(after[partition] > offset for partition, offset in before.items())
