"""Runners that are killed at any time, or restarted for an upgrade, leave the expected rows.

The oracle computes the expected rows from the recorded history of the sources.
"""

import os
import random
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import pytest
from sink_stack.stack import sink_runner

from . import demo_deployment, load, takeover
from . import next_version as next_program
from .deployment import describe_differences, wait_until

pytestmark = pytest.mark.stack

KILLS = 20
EARLY_KILLS = range(0, KILLS, 3)
"""The runners that are killed in their first seconds; the others are killed after a commit."""
RATE = 20.0
SETTLE_SECONDS = 120
STOP_SECONDS = 10
FAILED = 1  # the exit code of a runner whose mappings have all stopped
# Longer than the session timeout, after which Kafka reassigns a dead runner's partitions.
TAKEOVER_SECONDS = 90
# Shorter than the runner's own timeout of 6 s, which 13 kills would wait for.
SESSION_SECONDS = os.environ.get("SINK_SESSION_SECONDS", "2")
FAMILIES = 50


@pytest.fixture(scope="module")
def deployment(stack, tmp_path_factory):
    with demo_deployment.deploy(
        stack, tmp_path_factory.mktemp("runner") / "log", FAMILIES
    ) as deployment:
        # Applying an application looks up its citizen's number in the warehouse, so the demo's
        # applications must be applied before the load changes numbers.
        with deployment.runner():
            differences = deployment.settle(SETTLE_SECONDS)
        assert not differences, describe_differences(differences)
        yield deployment


@pytest.fixture(scope="module")
def short_sessions(deployment):
    """The same deployment, whose runners soon lose their partitions without a heartbeat."""
    variables = {**deployment.environment, "SINK_SESSION_SECONDS": SESSION_SECONDS}
    return replace(deployment, environment=variables)


@pytest.fixture(scope="module")
def next_version(deployment, tmp_path_factory):
    """The environment of the next version; its migration is reverted afterwards."""
    folder = tmp_path_factory.mktemp("upgrade")
    next_program.make(folder)
    yield {"PYTHONPATH": str(folder)}
    for connection in (deployment.warehouse, deployment.citizen):
        next_program.undo(connection)


@pytest.fixture(autouse=True)
def no_failed_events(deployment):
    """Assert after every test that no event failed or was repeated, and no number logged."""
    yield
    assert deployment.count_dead_letters() == 0
    assert deployment.repeated_batches() == []
    assert deployment.logged_numbers() == 0


def test_twenty_kills_under_load_leave_expected_rows(deployment, short_sessions):
    rng = random.Random(20)
    progress, events_by_life = deployment.progress(), []
    with load.run_in_background(*deployment.dsns, seed=1, rate=RATE) as running_load:
        for life in range(KILLS):
            with short_sessions.runner() as runner:
                if life not in EARLY_KILLS:
                    before = progress
                    assert wait_until(
                        lambda at=before: deployment.progress() > at, TAKEOVER_SECONDS
                    )
                time.sleep(rng.uniform(0, 3))
                assert runner.running, deployment.log_tail()
            reached = deployment.progress()
            events_by_life.append(reached - progress)
            progress = reached
    print(f"events applied in each life: {events_by_life}")
    print(f"load: {dict(sorted(running_load.done.items()))}")
    assert min(events_by_life) >= 0
    assert sum(life > 0 for life in events_by_life) >= KILLS - len(EARLY_KILLS)
    with deployment.runner():
        differences = deployment.settle(SETTLE_SECONDS)
    assert not differences, describe_differences(differences)


def test_joining_and_leaving_runners_leave_expected_rows(deployment, short_sessions):
    """Three runners under load: one is killed, another stopped, and new ones join."""
    with takeover.run_members(short_sessions, 3) as members:
        with load.run_in_background(*deployment.dsns, seed=3, rate=RATE):
            for _ in range(takeover.rounds()):
                members.kill()
                reached = deployment.stored_offsets()
                members.join()
                members.terminate()
                assert wait_until(partial(all_have_advanced, deployment, reached), TAKEOVER_SECONDS)
                if takeover.rounds() > 1:
                    members.join()
        print(members.report())
        differences = deployment.settle(SETTLE_SECONDS)
    assert not differences, describe_differences(differences)


def test_rolling_upgrade_continues_without_loss(deployment, next_version):
    """Runners are restarted one by one under load; an old one writes during the migration."""
    with ExitStack() as runners:
        first, second = (runners.enter_context(deployment.ready_runner()) for _ in range(2))
        with load.run_in_background(*deployment.dsns, seed=2, rate=RATE):
            wait_for_progress(deployment, first, second)
            assert first.terminate(STOP_SECONDS) == 0
            third = runners.enter_context(deployment.ready_runner(**next_version))
            assert deployment.migrating_versions(next_program.NUMBER) == {next_program.VERSION}
            wait_for_progress(deployment, second, third)
            assert second.terminate(STOP_SECONDS) == 0
            fourth = runners.enter_context(deployment.ready_runner(**next_version))
            wait_for_progress(deployment, third, fourth)
        differences = deployment.settle(SETTLE_SECONDS)
        assert [one.terminate(STOP_SECONDS) for one in (third, fourth)] == [0, 0]
    assert not differences, describe_differences(differences)


def test_older_version_is_refused_after_upgrade(deployment, next_version, tmp_path):
    environment = {**deployment.environment, **next_version}
    subprocess.run(sink_runner("migrate"), cwd=deployment.root, env=environment, check=True)
    with replace(deployment, log=tmp_path / "log").runner() as older:
        assert older.process.wait(SETTLE_SECONDS) == FAILED
    output, own_version = (tmp_path / "log").read_text(), version("sink-runner")
    assert (
        f"made by sink-runner {next_program.VERSION}; this is version {own_version}, which"
        in output
    )
    assert "upgrade this program, a downgrade is not possible" in output


def wait_for_progress(deployment, *runners) -> None:
    """Wait until each runner has applied events of partitions that it owns."""
    for runner in runners:
        first: dict[tuple[str, int], int] = {}
        assert wait_until(partial(has_advanced, deployment, runner, first), TAKEOVER_SECONDS), (
            deployment.log_tail()
        )


def has_advanced(deployment, runner, first) -> bool:
    owned = deployment.owned_offsets(runner)
    return any(offset > first.setdefault(partition, offset) for partition, offset in owned.items())


def all_have_advanced(deployment, before) -> bool:
    after = deployment.stored_offsets()
    return all(after[partition] > offset for partition, offset in before.items())
