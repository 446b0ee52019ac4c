"""Batch commands as child processes."""

import time

import pytest

from sink_runner.schedule.child import Child


def wait_for_exit(child: Child) -> int:
    bound = time.monotonic() + 30
    while (code := child.poll()) is None:
        assert time.monotonic() < bound
        time.sleep(0.02)
    return code


def test_exit_code_is_that_of_command(configured, capfd):
    path = configured()
    assert wait_for_exit(Child(("config",), path)) == 0
    assert f"# {path}" in capfd.readouterr().out
    assert wait_for_exit(Child(("confg",), path)) == 2


@pytest.mark.parametrize(("method", "code"), [("terminate", 0), ("kill", 137)])
def test_child_can_be_terminated_or_killed(configured, capfd, method, code):
    # A scheduler without schedules runs until it is stopped.
    child = Child(("schedule",), configured())
    while "schedule_started" not in capfd.readouterr().err:
        assert child.poll() is None
        time.sleep(0.02)
    getattr(child, method)()
    assert wait_for_exit(child) == code
    getattr(child, method)()  # does nothing once the child has exited
