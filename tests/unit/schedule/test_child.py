"""Other commands as processes of their own."""

import time

import pytest

from sink_runner.schedule.child import Child


def ended(child: Child) -> int:
    bound = time.monotonic() + 30
    while (code := child.poll()) is None:
        assert time.monotonic() < bound
        time.sleep(0.02)
    return code


def test_the_exit_code_is_the_command_s(configured, capfd):
    path = configured()
    assert ended(Child(("config",), path)) == 0
    assert f"# {path}" in capfd.readouterr().out
    assert ended(Child(("confg",), path)) == 2


@pytest.mark.parametrize(("end", "code"), [("terminate", 0), ("kill", 137)])
def test_it_ends_when_it_is_told_to(configured, capfd, end, code):
    """A scheduler without schedules waits for ever."""
    child = Child(("schedule",), configured())
    while "schedule_started" not in capfd.readouterr().err:
        assert child.poll() is None
        time.sleep(0.02)
    getattr(child, end)()
    assert ended(child) == code
    getattr(child, end)()  # once more is no error
