"""A runner that dies at any moment, or is stopped for an upgrade, leaves the databases right.

What is right is computed from the recorded history of the sources, by the specification.
"""

import random
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import pytest
from sink_stack.stack import sink_runner

from . import fresh, load
from . import next_version as upgrade
from .arena import describe_differences, until

pytestmark = pytest.mark.stack

KILLS = 20
EARLY = range(0, KILLS, 3)
"""Which runners are killed in their first seconds; the others once they have applied events."""
RATE = 20.0
SETTLE_SECONDS = 120
STOP_SECONDS = 10
FAILED = 1  # the exit code of a runner whose mappings have all stopped
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
        assert not left, describe_differences(left)
        yield made


@pytest.fixture(scope="module")
def next_version(arena, tmp_path_factory):
    """The environment of the next version; its migration is undone in the end."""
    folder = tmp_path_factory.mktemp("upgrade")
    upgrade.make(folder)
    yield {"PYTHONPATH": str(folder)}
    for connection in (arena.warehouse, arena.citizen):
        upgrade.undo(connection)


@pytest.fixture(autouse=True)
def exact(arena):
    """What holds at the end of every test here."""
    yield
    assert arena.dead_letters() == 0
    assert arena.applied_twice() == []
    assert arena.numbers_in_the_log() == 0


def test_twenty_kills_under_load_leave_what_specification_says(arena):
    moments = random.Random(20)
    progress, lives = arena.progress(), []
    with load.running(*arena.dsns, seed=1, rate=RATE) as acting:
        for life in range(KILLS):
            with arena.runner() as runner:
                if life not in EARLY:
                    before = progress
                    assert until(lambda at=before: arena.progress() > at, TAKEOVER_SECONDS)
                time.sleep(moments.uniform(0, 3))
                assert runner.running, arena.tail()
            reached = arena.progress()
            lives.append(reached - progress)
            progress = reached
    print(f"events applied in each life: {lives}")
    print(f"load: {dict(sorted(acting.done.items()))}")
    assert min(lives) >= 0
    assert sum(life > 0 for life in lives) >= KILLS - len(EARLY)
    with arena.runner():
        left = arena.settle(SETTLE_SECONDS)
    assert not left, describe_differences(left)


def test_second_runner_takes_over_when_first_is_killed(arena):
    with load.running(*arena.dsns, seed=3, rate=RATE), arena.runner() as first:
        before = arena.progress()
        assert until(lambda: arena.progress() > before, TAKEOVER_SECONDS)
        with arena.runner() as second:
            go_on(arena, first, second)
            assert first.running
            assert second.running
            first.kill()
            reached = arena.partitions()
            assert until(lambda: moved(reached, arena.partitions()), TAKEOVER_SECONDS)
            assert second.running
    with arena.runner():
        left = arena.settle(SETTLE_SECONDS)
    assert not left, describe_differences(left)


def test_two_runners_restarted_into_next_version_go_on(arena, next_version):
    """Restart one by one under load; the older one writes while the first newer one migrates."""
    with ExitStack() as runners:
        first, second = (runners.enter_context(arena.ready_runner()) for _ in range(2))
        with load.running(*arena.dsns, seed=2, rate=RATE):
            go_on(arena, first, second)
            assert first.terminate(STOP_SECONDS) == 0
            third = runners.enter_context(arena.ready_runner(**next_version))
            assert arena.versions_that_migrated(upgrade.NUMBER) == {upgrade.VERSION}
            go_on(arena, second, third)
            assert second.terminate(STOP_SECONDS) == 0
            fourth = runners.enter_context(arena.ready_runner(**next_version))
            go_on(arena, third, fourth)
        left = arena.settle(SETTLE_SECONDS)
        assert [one.terminate(STOP_SECONDS) for one in (third, fourth)] == [0, 0]
    assert not left, describe_differences(left)


def test_runner_of_older_version_is_refused_afterwards(arena, next_version, tmp_path):
    environment = {**arena.environment, **next_version}
    subprocess.run(sink_runner("migrate"), cwd=arena.root, env=environment, check=True)
    with replace(arena, log=tmp_path / "log").runner() as older:
        assert older.process.wait(SETTLE_SECONDS) == FAILED
    said, mine = (tmp_path / "log").read_text(), version("sink-runner")
    assert f"made by sink-runner {upgrade.VERSION}; this is version {mine}, which" in said
    assert "upgrade this program, a downgrade is not possible" in said


def go_on(arena, *runners) -> None:
    """Wait until each of them has applied events of partitions that it owns."""
    for runner in runners:
        first: dict[tuple[str, int], int] = {}
        assert until(partial(advanced, arena, runner, first), TAKEOVER_SECONDS), arena.tail()


def advanced(arena, runner, first) -> bool:
    owned = arena.owned(runner)
    return any(offset > first.setdefault(partition, offset) for partition, offset in owned.items())


def moved(before, after) -> bool:
    return all(after[partition] > offset for partition, offset in before.items())
